"""What commands print."""

from __future__ import annotations

import io
import json

import pytest

from mira_batch.cli import app, main


def test_a_json_answer_holds_no_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs refuse the whole document for it."""
    printed = io.StringIO()
    monkeypatch.setattr(app.out, "file", printed)
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            app.print_json({"value": value})
    assert not printed.getvalue(), "not half of it either"
    app.print_json({"value": None})
    assert printed.getvalue() == '{\n  "value": null\n}\n'


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("", "a location is empty; the working directory is ."),
        ("~nobody-there/run", "there is no user for ~nobody-there"),
        ("file://nas/run", "this one names 'nas'"),
        ("s3://ada:secret@bucket/run", "must not hold a password"),
        ("s3:/bucket/run", "write s3://bucket/run"),
    ],
)
@pytest.mark.parametrize("command", ["status {}", "show {} sku-1", "diff {} {}", "report {}"])
def test_a_place_that_is_none_is_told_in_one_line(
    command: str, place: str, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*(word.format(place) for word in command.split()), "--json"]) == 2
    (error,) = json.loads(capfd.readouterr().out).values()
    assert why in error and "\n" not in error and "secret" not in error
