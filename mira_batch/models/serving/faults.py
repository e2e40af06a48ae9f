"""What an endpoint's faults mean, whichever client met them.

Each adapter (`openai_client.py`, `gemini_images.py`) turns the exceptions of its client into an
`EndpointFault` or a `RecordError`; `endpoint.py` acts on it. No key is ever in their words.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

from mira_batch.core.errors import RecordError
from mira_batch.core.text import clean_text, hide_passwords

MOST_WORDS = 300
"""Characters of an endpoint's own words that an error quotes."""
MOST_TEXT = 1_000_000
"""Characters of a chat model's answer: a longer one is no answer, and every row would carry it."""
_KEYS = re.compile(r"\b(?:sk|pk|rk)-[\w*.\-]{4,}|\bAIza[\w*\-]{4,}|(?<=Bearer )\S+", re.IGNORECASE)
"""What looks like a key, also where the endpoint has masked a part of it."""


class Meaning(StrEnum):
    """What a fault says."""

    busy = "busy"
    """The endpoint can't take calls now: everybody should wait."""
    gateway = "gateway"
    """What stands before the endpoint got nothing from it: it is away, or this request takes it too long."""
    broken = "broken"
    """This call failed and may succeed when it is made again."""
    request = "request"
    """The endpoint will never carry out this request."""
    settings = "settings"
    """A wrong name of the model, address or setting, which refuses every request; or this one alone is
    refused, since some endpoints say nothing else of one that they moderate."""
    key = "key"
    """The key is wrong or was withdrawn: every request will be refused."""
    quota = "quota"
    """What was paid for is used up."""


_BUSY = {429, 503, 529}
_GATEWAY = {502, 504}
_BROKEN = {408, 409, 425}
_KEY = {401, 407}
_REDIRECTS = range(300, 400)
_SETTINGS = {403, 404, 405, 410, *_REDIRECTS}
_QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_KEY_CODES = {"API_KEY_INVALID", "invalid_api_key"}
UNSUPPORTED = {"unsupported_parameter", "unsupported_value"}
"""Codes of a model that doesn't take a setting."""
_SETTINGS_CODES = {"model_not_found", "unknown_parameter", *UNSUPPORTED}


class EndpointFault(Exception):
    """A call of an endpoint gave no answer that is of use."""

    def __init__(self, meaning: Meaning, words: str, retry_after: float | None = None) -> None:
        """
        Args:
            meaning: what it says.
            words: what the endpoint or the connection said; see `quote`.
            retry_after: seconds after which the endpoint asks to be called again.
        """
        super().__init__(words)
        self.meaning = meaning
        self.retry_after = retry_after
        self.cost = 0.0
        """US dollars that the call was charged all the same; see `charge_errors`."""


def classify_status(status: int, *said: object) -> Meaning:
    """What an HTTP status means, together with the codes that the body gives for it, whatever these are."""
    codes = {code for code in said if isinstance(code, str)}
    if status == 402 or not _QUOTA_CODES.isdisjoint(codes):
        return Meaning.quota
    if status in _KEY or not _KEY_CODES.isdisjoint(codes):
        return Meaning.key
    if status in _SETTINGS or not _SETTINGS_CODES.isdisjoint(codes):
        return Meaning.settings
    if status in _BUSY:
        return Meaning.busy
    if status in _GATEWAY:
        return Meaning.gateway
    if status in _BROKEN or status >= 500:
        return Meaning.broken
    return Meaning.request if status >= 400 else Meaning.broken


def describe_redirect(status: int, to: str | None) -> str | None:
    """What to say of an answer that is a redirect, None of any other. None is followed: key, image and
    instruction would go to a host that nobody named.

    Args:
        status: HTTP's.
        to: where the answer says that it leads; host and path of it are told, since a user, a query or a
            fragment may hold a token.
    """
    if status not in _REDIRECTS:
        return None
    shown = hide_passwords(re.split("[?#]", to, maxsplit=1)[0]) if to else ""
    where = f"to {shown}" if shown else "without saying where to"
    return f"the endpoint redirects {where}, which is not followed; name its own address as base_url"


@contextmanager
def charge_errors(cost: float) -> Iterator[None]:
    """Add to what is raised inside the US dollars that the endpoint charged for its answer."""
    try:
        yield
    except (EndpointFault, RecordError) as error:
        error.cost += cost
        raise


def parse_retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header, from now where it is a date; None where there is none, or where that
    is past: by another clock than ours, and so it says nothing."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            until = parsedate_to_datetime(header)
        except ValueError:
            return None
        if until.tzinfo is None:  # an old form, which is of UTC as well
            until = until.replace(tzinfo=UTC)
        seconds = until.timestamp() - time.time()
    return seconds if 0 <= seconds < 1e6 else None


def quote(text: str, key: str | None) -> str:
    """An endpoint's words for an error message: on one line, valid Unicode, cut short, and without anything
    like a key."""
    if key:
        text = text.replace(key, "***")
    return clean_text(" ".join(_KEYS.sub("***", text).split()), MOST_WORDS)
