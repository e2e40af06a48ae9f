"""Signed images, read back by C2PA's own validator."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from PIL import Image

from mira_batch.config.edit import InputConfig, OutputConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.source_type import GENERATIVE, VOCABULARY
from mira_batch.core.version import __version__
from mira_batch.marks import SignedEdit, SignedSource, SigningKey, make_labels, read_key, sign_image
from mira_batch.storage.encoding import encode
from mira_batch.storage.images import decode_marked
from tests.support.certificates import key_pem, make_certificate
from tests.support.sources import COPYRIGHT, read_exif, read_xmp, rich_jpeg

c2pa = pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
SOURCE = SignedSource(rich_jpeg(), "image/jpeg", "mug.jpg")
EDITS = (
    SignedEdit("remove the shadow", "flux/1", GENERATIVE),
    SignedEdit("tidy\x00 up", "flux/1", GENERATIVE),
)
ROOT, CERTIFICATE, KEY = make_certificate()
IN_A_FILE = SigningKey("es256", CERTIFICATE, key_pem(KEY))


def elsewhere(data: bytes) -> bytes:
    """As a key service signs."""
    r, s = decode_dss_signature(KEY.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def result_of(form: str) -> bytes:
    image, marks = decode_marked(SOURCE.data, "mug", InputConfig(manifest="/data/m.jsonl"))
    output = OutputConfig.model_validate({"uri": "/out", "format": form})
    return encode(image, output, make_labels(marks, "rights", GENERATIVE))


def validated(data: bytes, form: str, trusted: bool = True) -> tuple[str, dict[str, Any]]:
    """What the validator says of an image, and its manifest."""
    trust = {"trust": {"trust_anchors": ROOT}, "verify": {"verify_trust": True}} if trusted else {}
    with (
        c2pa.Context(c2pa.Settings.from_dict(trust)) as context,
        c2pa.Reader(f"image/{form}", io.BytesIO(data), context=context) as reader,
    ):
        store = json.loads(reader.json())
        return reader.get_validation_state(), store["manifests"][store["active_manifest"]]


@pytest.mark.parametrize("form", ["png", "webp", "jpeg"])
@pytest.mark.parametrize("key", [IN_A_FILE, SigningKey("es256", CERTIFICATE, sign=elsewhere)])
def test_a_signed_image_is_valid_and_says_what_was_done(form: Any, key: SigningKey) -> None:
    plain = result_of(form)
    signed = sign_image(plain, form, "mug, tidy", SOURCE, EDITS, key)
    state, manifest = validated(signed, form)
    assert state == "Trusted"
    assert manifest["title"] == "mug, tidy"
    (maker,) = manifest["claim_generator_info"]
    assert (maker["name"], maker["version"]) == ("mira_batch", __version__)
    (parent,) = manifest["ingredients"]
    assert (parent["title"], parent["relationship"]) == ("mug.jpg", "parentOf")
    assert "thumbnail" not in parent and "thumbnail" not in manifest
    (actions,) = (
        a["data"]["actions"] for a in manifest["assertions"] if a["label"].startswith("c2pa.actions")
    )
    assert [a["action"] for a in actions] == ["c2pa.opened", "c2pa.edited", "c2pa.edited"]
    assert [a.get("description") for a in actions] == [None, "remove the shadow", "tidy up"]
    assert actions[1]["softwareAgent"]["name"] == "flux/1"
    assert actions[1]["digitalSourceType"] == VOCABULARY + GENERATIVE
    assert read_xmp(signed)["DigitalSourceType"] == VOCABULARY + GENERATIVE
    assert read_exif(signed)["Copyright"] == COPYRIGHT
    before, after = (Image.open(io.BytesIO(data)) for data in (plain, signed))
    assert before.tobytes() == after.tobytes() and len(signed) - len(plain) < 20_000


def test_a_changed_pixel_is_found_out() -> None:
    signed = bytearray(sign_image(result_of("png"), "png", "mug", SOURCE, EDITS, IN_A_FILE))
    signed[-40] ^= 1
    assert validated(bytes(signed), "png")[0] == "Invalid"


def test_a_manifest_in_the_source_is_carried_and_noted() -> None:
    first = sign_image(result_of("jpeg"), "jpeg", "first", SOURCE, EDITS, IN_A_FILE)
    marks = decode_marked(first, "first", InputConfig(manifest="/data/m.jsonl"))[1]
    assert marks.has_c2pa and marks.source_type == GENERATIVE
    again = SignedSource(first, "image/jpeg", "first.jpg")
    signed = sign_image(result_of("webp"), "webp", "second", again, (), IN_A_FILE)
    state, manifest = validated(signed, "webp")
    assert state == "Trusted" and manifest["ingredients"][0]["active_manifest"]
    for form in ("png", "webp"):
        data = sign_image(result_of(form), form, "x", SOURCE, EDITS, IN_A_FILE)
        assert decode_marked(data, "x", InputConfig(manifest="/data/m.jsonl"))[1].has_c2pa


def test_keys_come_from_files_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chain.pem").write_text(CERTIFICATE)
    (tmp_path / "key.pem").write_text(key_pem(KEY))
    chain = str(tmp_path / "chain.pem")
    monkeypatch.setenv("SIGNING_KEY", key_pem(KEY))
    for place in (str(tmp_path / "key.pem"), "env:SIGNING_KEY"):
        key = read_key(chain, place)
        assert key.private_key == key_pem(KEY) and "PRIVATE" not in repr(key)
    for place, said in (("env:NO_SUCH_KEY", "NO_SUCH_KEY"), (str(tmp_path / "none.pem"), "No such file")):
        with pytest.raises(ConfigError, match=said):
            read_key(chain, place)
    (tmp_path / "odd.pem").write_text("hello")
    with pytest.raises(ConfigError, match="is not in PEM form"):
        read_key(chain, str(tmp_path / "odd.pem"))


def test_what_cannot_sign_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="can't be signed: .*check key and certificates"):
        sign_image(result_of("png"), "png", "mug", SOURCE, EDITS, SigningKey("es256", CERTIFICATE, "junk"))
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(ConfigError, match=r"pip install 'mira-batch\[c2pa\]'"):
        sign_image(result_of("png"), "png", "mug", SOURCE, EDITS, IN_A_FILE)
