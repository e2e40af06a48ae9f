"""What commands print."""

from __future__ import annotations

import io

import pytest

from mira_batch.cli import app


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
