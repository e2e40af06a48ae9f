"""How locations are read: file URIs, variables, `~`; of a key no character changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config
from mira_batch.config.base import is_remote, make_absolute, read_file_uri
from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import ConfigError


def settings(uri: str, **more: Any) -> dict[str, Any]:
    return {"input": {"manifest": "/data/m.csv"}, "output": {"uri": uri}, **more}


def output(uri: str) -> str:
    return load_config(settings(uri)).output.uri


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///data/my%20shop/%C3%A9.png", "/data/my shop/é.png"),
        ("FILE://LocalHost/data/a.png", "/data/a.png"),
        ("file:/data/a.png", "/data/a.png"),
        ("file:///data/50%25.png", "/data/50%.png"),
        ("file:///data/50%off#1?.png", "/data/50%off#1?.png"),
        ("file:///data/a%2Fb", "/data/a/b"),
        ("file:///data/%2e%2e/a", "/data/../a"),
        ("/data/a%20b.png", None),
        ("file:name", None),
        ("s3://bucket/a", None),
    ],
)
def test_a_file_uri_is_percent_encoded(uri: str, path: str | None) -> None:
    assert read_file_uri(uri) == path
    assert is_remote(uri) == uri.startswith("s3")


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("file://nas/share/a.png", "this machine only, and this one names 'nas'"),
        ("file://out", "this one names 'out'; write file:///folder/name, or a path without file://"),
        ("file://me:secret@nas/a.png", "this one names 'nas'"),
        ("file://localhost", "names no path"),
        ("file:///data/%ff.png", "are not UTF-8"),
        ("file:///data/a%00.png", "NUL"),
    ],
)
def test_a_file_uri_that_no_file_can_have_is_refused(uri: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as error:
        read_file_uri(uri)
    assert "secret" not in str(error.value)
    with pytest.raises(ConfigError, match=f"^config: output.uri: .*{why}"):
        output(uri)


def test_a_key_is_taken_as_it_is() -> None:
    for uri in ("s3://bucket/summer#1", "s3://bucket/a?b=%20&c", "s3://bucket/~/é", "gs://bucket/50%25 off"):
        assert make_absolute(uri) == output(uri) == output(f"{uri}/") == uri
    assert output("S3://Bucket/Key") == "s3://Bucket/Key", "a scheme has no case"
    assert make_absolute("/data/50%25#?") == "/data/50%25#?"


@pytest.mark.parametrize("location", ["s3:/bucket/out", "S3:bucket/out", "s3a:/bucket/out"])
def test_a_uri_without_its_slashes_is_no_folder_right_here(location: str) -> None:
    scheme = location.split(":")[0].lower()
    with pytest.raises(
        ConfigError, match=f"^config: output.uri: {location}: .*write {scheme}://bucket/out; "
    ):
        output(location)
    assert output(f"./{location}") == os.path.abspath(location)


def test_variables_of_the_environment_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTDIR", "/srv/out")
    monkeypatch.setenv("BUCKET", "s3://shop")
    monkeypatch.setenv("MONEY", "/srv/US$BUCKET")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert output("$OUTDIR/x") == output("${OUTDIR}/x") == output("file://$OUTDIR/x") == "/srv/out/x"
    assert output("$BUCKET/a") == "s3://shop/a"
    assert output("$MONEY/a") == "/srv/US$BUCKET/a", "a value is not looked into"
    assert output("/srv/$$OUTDIR/$${OUTDIR}") == "/srv/$OUTDIR/${OUTDIR}"
    assert output("s3://shop/5$/$1") == "s3://shop/5$/$1", "no names"
    assert output("~/out") == os.path.expanduser("~/out")
    for text, name in [("$NOWHERE/x", r"\$NOWHERE"), ("s3://${NOWHERE}", r"\$\{NOWHERE\}")]:
        with pytest.raises(
            ConfigError, match=rf"output.uri: {name} is not set .*; set it, or write \${name}"
        ):
            output(text)
    with pytest.raises(ConfigError, match=r"\$EMPTY is empty in the environment"):
        output("$EMPTY/x")
    with pytest.raises(ConfigError, match="there is no user for ~nobody-there"):
        output("~nobody-there/x")
    everywhere = load_config(
        {
            "input": {"manifest": "$BUCKET/m.csv", "allow": ["$OUTDIR"]},
            "output": {"uri": "out"},
            "storage": {"endpoint_url": "http://${BUCKET}"},
        }
        | {"storage": {"endpoint_url": "http://host$$BUCKET"}}
    )
    assert (everywhere.input.manifest, everywhere.input.allow) == ("s3://shop/m.csv", ("/srv/out",))
    assert everywhere.storage.endpoint_url == "http://host$BUCKET"


def test_what_is_on_record_is_not_replaced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's own `run.json` finds the run, also one in a folder that an older version named `$OUTDIR`."""
    config = load_config(settings("/srv/$$OUTDIR/x"))
    assert BulkEditConfig.model_validate(config.model_dump(mode="json")) == config, "as it comes to a worker"
    record = tmp_path / "run.json"
    record.write_text(json.dumps({"mira_batch": "0.1.0", "config": config.model_dump(mode="json")}))
    monkeypatch.setenv("OUTDIR", "elsewhere")
    assert load_config(record).output.uri == "/srv/$OUTDIR/x"
    assert load_config(record, ["output.uri=/$OUTDIR"]).output.uri == "/elsewhere", (
        "an override is written now"
    )


@pytest.mark.parametrize("name", ["", "  "])
@pytest.mark.parametrize("field", ["input.manifest", "output.uri"])
def test_an_empty_location_is_not_the_working_directory(field: str, name: str) -> None:
    section, key = field.split(".")
    given = {"input": {"manifest": "m.jsonl"}, "output": {"uri": "out"}}
    given[section][key] = name
    with pytest.raises(ConfigError, match=rf"{field}.*is empty; the working directory is \."):
        load_config(given)
    given[section][key] = "."
    assert load_config(given)
