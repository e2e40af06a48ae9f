"""What an endpoint's status, words and headers mean."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from mira_batch.models.serving.faults import Meaning, classify_status, parse_retry_after, quote


@pytest.mark.parametrize(
    ("status", "code", "meaning"),
    [
        (400, None, Meaning.request),
        (400, "moderation_blocked", Meaning.request),
        (400, "API_KEY_INVALID", Meaning.key),
        (400, "unsupported_value", Meaning.settings),
        (401, None, Meaning.key),
        (402, None, Meaning.quota),
        (403, None, Meaning.settings),
        (404, "model_not_found", Meaning.settings),
        (405, None, Meaning.settings),
        (407, None, Meaning.key),
        (410, None, Meaning.settings),
        (408, None, Meaning.broken),
        (409, None, Meaning.broken),
        (413, None, Meaning.request),
        (422, None, Meaning.request),
        (429, None, Meaning.busy),
        (429, "rate_limit_exceeded", Meaning.busy),
        (429, "insufficient_quota", Meaning.quota),
        (500, None, Meaning.broken),
        (502, None, Meaning.gateway),
        (503, None, Meaning.busy),
        (504, None, Meaning.gateway),
        (529, None, Meaning.busy),
    ],
)
def test_what_statuses_mean(status: int, code: str | None, meaning: Meaning) -> None:
    assert classify_status(status, code) is meaning


def test_a_code_of_another_form_says_nothing() -> None:
    assert classify_status(429, {"reason": "tokens"}, 429, None) is Meaning.busy


def test_keys_are_never_quoted() -> None:
    words = quote("Incorrect key provided: sk-proj-ab****yz.\nBearer abcdef secret-1 AIzaSyD-x9", "secret-1")
    assert words == "Incorrect key provided: *** Bearer *** *** ***"
    assert len(quote("x" * 10_000, None)) == 300
    assert quote("half \ud83d and \udce9", None) == r"half \ud83d and \xe9"


def test_retry_after_is_read_in_seconds_or_as_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [parse_retry_after(text) for text in ("2", "0", "1.5")] == [2.0, 0.0, 1.5]
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") is None, "clocks differ: it says nothing"
    seconds = parse_retry_after(formatdate(time.time() + 3600, usegmt=True))
    assert seconds is not None and 3000 < seconds <= 3600
    old_form = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(time.time() + 3600))  # of UTC, unsaid
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        assert 3500 < (parse_retry_after(old_form) or 0.0) < 3700
    time.tzset()
    assert [parse_retry_after(text) for text in (None, "", "-1", "nan", "inf", "tomorrow")] == [None] * 6
