"""Exports of signed images, read back by C2PA's own validator; and what results say, in another format."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from PIL import Image

from mira_batch import read_outputs
from mira_batch.core.source_type import ENHANCED, VOCABULARY
from tests.support.certificates import key_pem, make_certificate
from tests.support.runs.commands import Commands, run_first_night
from tests.support.runs.exports import files_of, good_rows, same_pixels, visible
from tests.support.runs.nights import Nights
from tests.support.sources import COPYRIGHT, read_dpi, read_exif, read_xmp, rich_jpeg

c2pa = pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
ROOT, CERTIFICATE, KEY = make_certificate()


def sign_elsewhere(data: bytes) -> bytes:
    """As a key service signs; it is named by the command."""
    r, s = decode_dss_signature(KEY.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    found = Nights(tmp_path)
    found.add(4, "rotate it by 90 degrees, then make it sepia")
    found.add(1, "frobnicate the gizmo")
    (tmp_path / "mug.jpg").write_bytes(rich_jpeg())
    row = {"record_id": "mug", "image": "mug.jpg", "instruction": "make it grayscale"}
    found.rows["mug"] = row | {"image": str(tmp_path / "mug.jpg")}
    return found


@pytest.fixture
def cli(nights: Nights, capfd: pytest.CaptureFixture[str]) -> Commands:
    return run_first_night(nights, capfd)


@pytest.fixture
def key(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "chain.pem").write_text(CERTIFICATE)
    (tmp_path / "key.pem").write_text(key_pem(KEY))
    return ("--sign", str(tmp_path / "chain.pem"), "--sign-key", str(tmp_path / "key.pem"))


def export(cli: Commands, to: Path | str, form: str, *more: str | Path, code: int = 0) -> Any:
    return cli.json("export", to, "--as", form, "--catalogue", cli.nights.output, *more, code=code)


def validated(data: bytes, form: str = "png") -> dict[str, Any]:
    """The manifest of an image that the validator trusts."""
    trust = {"trust": {"trust_anchors": ROOT}, "verify": {"verify_trust": True}}
    with (
        c2pa.Context(c2pa.Settings.from_dict(trust)) as context,
        c2pa.Reader(f"image/{form}", io.BytesIO(data), context=context) as reader,
    ):
        assert reader.get_validation_state() == "Trusted"
        store = json.loads(reader.json())
        return store["manifests"][store["active_manifest"]]


def list_actions(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    found = [a["data"]["actions"] for a in manifest["assertions"] if a["label"].startswith("c2pa.actions")]
    return found[0]


def test_a_signed_folder_names_sources_and_edits(
    cli: Commands, nights: Nights, tmp_path: Path, key: tuple[str, ...]
) -> None:
    good, to = good_rows(nights.output), tmp_path / "to"
    assert export(cli, to, "folder", *key)["exported"] == 5
    (run,) = Path(nights.output).glob("*/run.json")
    steps = {
        row["record_id"]: row["steps"]
        for row in read_outputs(str(run.parent), ["record_id", "steps"]).to_pylist()
    }
    for name, row in good.items():
        data = (to / f"{name}.png").read_bytes()
        manifest = validated(data)
        assert same_pixels(data, row) and manifest["title"] == f"{name}.png"
        (parent,) = manifest["ingredients"]
        assert parent["title"] == ("mug.jpg" if name == "mug" else f"{name}.png")
        opened, *edits = list_actions(manifest)
        assert opened["action"] == "c2pa.opened"
        assert [edit["description"] for edit in edits] == [s["instruction"] for s in steps[name]]
        assert {edit["softwareAgent"]["name"] for edit in edits} == {row["models"]["editor"]}
        assert {edit["digitalSourceType"] for edit in edits} == {VOCABULARY + ENHANCED}
        assert b"thought" not in data
    before = files_of(to)
    assert export(cli, to, "folder", *key)["already"] == 5
    assert files_of(to) == before, "a second export writes nothing"
    assert "signed: was True, now False" in export(cli, to, "folder", code=2)["error"]


def test_what_a_killed_export_left_is_taken_though_signatures_differ(
    cli: Commands, tmp_path: Path, key: tuple[str, ...]
) -> None:
    to = tmp_path / "to"
    export(cli, to, "folder", *key)
    before = files_of(to)
    for marker in (to / ".mira-batch" / "00001").glob("**/*.json"):
        marker.unlink()  # as if it had been killed after its last image
    (to / "rec-0002.png").unlink()
    assert export(cli, to, "folder", *key)["exported"] == 5
    after = files_of(to)
    changed = {name for name in before if before[name] != after[name] and name.endswith(".png")}
    assert changed == {"rec-0002.png"} and validated((to / "rec-0002.png").read_bytes())
    for marker in (to / ".mira-batch" / "00001").glob("**/*.json"):
        marker.unlink()
    (to / "rec-0002.png").write_bytes((to / "rec-0001.png").read_bytes())
    error = export(cli, to, "folder", *key, code=2)["error"]
    assert "rec-0002.png: was put there by somebody else meanwhile" in error


@pytest.mark.parametrize("form", ["webdataset", "hf"])
def test_data_sets_hold_signed_images(
    cli: Commands, nights: Nights, tmp_path: Path, key: tuple[str, ...], form: str, monkeypatch: Any
) -> None:
    to, good = tmp_path / "to", good_rows(nights.output)
    monkeypatch.setenv("SIGNING_KEY", key_pem(KEY))
    export(cli, to, form, *key[:3], "env:SIGNING_KEY")
    if form == "hf":
        (file,) = (to / "data").glob("*.parquet")
        rows = pq.read_table(file).to_pylist()
        found = {row["record_id"]: row["image"]["bytes"] for row in rows}
    else:
        (file,) = to.glob("*.tar")
        with tarfile.open(file) as tar:
            members = {m.name: tar.extractfile(m) for m in tar.getmembers() if m.name.endswith(".png")}
            found = {name.removesuffix(".png"): reader.read() for name, reader in members.items() if reader}
    assert found.keys() == good.keys()
    for name, data in found.items():
        assert same_pixels(data, good[name]) and len(list_actions(validated(data))) > 1


def test_another_format_keeps_what_the_result_says_and_is_signed(
    cli: Commands, nights: Nights, tmp_path: Path, key: tuple[str, ...]
) -> None:
    where = ("--where", "record_id = 'mug'", "--format", "source")
    call = "call:tests.integration.test_export_signing:sign_elsewhere"
    for to, more in (("plain", ()), ("signed", (*key[:3], call))):
        export(cli, tmp_path / to, "folder", *where, *more)
        data = (tmp_path / to / "mug.jpg").read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "JPEG" and "icc_profile" in image.info
        assert read_dpi(data) == (150, 300), "turned with the picture"
        assert read_exif(data)["Copyright"] == COPYRIGHT
        assert read_xmp(data)["DigitalSourceType"] == VOCABULARY + ENHANCED
    assert validated(data, "jpeg")["title"] == "mug.jpg"


def test_refused_before_anything_is_written(
    cli: Commands, nights: Nights, tmp_path: Path, key: tuple[str, ...]
) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "other.pem").write_bytes(other)
    cases = (
        ("csv", key, "--sign: is for folder, webdataset, hf; csv has no use for it"),
        ("folder", key[:2], "--sign and --sign-key go together"),
        ("folder", (*key[:3], "env:NO_SUCH_KEY"), "NO_SUCH_KEY"),
        ("folder", (*key[:3], "call:json:no_such"), "json has no function 'no_such'"),
        ("folder", (*key[:3], "call:no.such.module:f"), "can't be imported"),
        ("folder", (*key[:3], str(tmp_path / "other.pem")), "can't be signed"),
    )
    for form, more, words in cases:
        assert words in export(cli, tmp_path / "to", form, *more, code=2)["error"]
        assert not (tmp_path / "to").exists()


def test_an_original_that_changed_is_no_parent(
    cli: Commands, nights: Nights, tmp_path: Path, key: tuple[str, ...]
) -> None:
    nights.paint("rec-0001", 200)
    error = export(cli, tmp_path / "to", "folder", *key, code=2)["error"]
    assert "record 'rec-0001': its original" in error and "is another one now" in error
    assert "into another destination without the record (--where)" in error
    (tmp_path / "rec-0003.png").unlink()
    more = ("--where", "record_id != 'rec-0001'")
    assert "record 'rec-0003'" in export(cli, tmp_path / "other", "folder", *key, *more, code=2)["error"]
    more = ("--where", "record_id not in ('rec-0001', 'rec-0003')")
    found = export(cli, tmp_path / "third", "folder", *key, *more)
    assert found["exported"] == 3 and len(visible(tmp_path / "third")) == 3
