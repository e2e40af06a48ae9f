"""What the faults of an object store mean: which are passing, and what a user should do about the others."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable

import aiohttp
import botocore.exceptions as be
from obstore import exceptions as oe
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from mira_batch.core.errors import describe

READ_ERRORS = (OSError, ValueError, be.BotoCoreError, aiohttp.ClientError)
"""What reading a file through fsspec may raise, whatever its scheme."""
CREDENTIALS = {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
"""S3's codes for credentials that are invalid or expired, whatever is asked for."""
_FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"}
_REFUSED = (
    "the store refused the credentials; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where there is "
    "one, AWS_SESSION_TOKEN, and their rights on this bucket, then run the same command again"
)
_BUSY = {429, 500, 502, 503, 504}
_PASSING = {errno.EBUSY, errno.EIO, getattr(errno, "EREMOTEIO", errno.EIO), errno.ETIMEDOUT}
"""What s3fs makes of 500, 503, SlowDown and the like."""
_NO_CREDENTIALS = (
    be.NoCredentialsError,
    be.PartialCredentialsError,
    be.CredentialRetrievalError,
    be.SSOError,
)


def retry_passing_faults(seconds: float, on_retry: Callable[[], None] | None = None) -> Retrying:
    """Call again what fails by a passing fault, with back-off and jitter.

    Args:
        seconds: no try begins later than this after the first one. 0: there is one try.
        on_retry: called before each wait for the next try.

    Returns:
        What makes the call: `retry_passing_faults(60)(function, argument)` returns what the function returns.
        It raises the error of the last try.
    """
    return Retrying(
        retry=retry_if_exception(is_passing),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        stop=stop_after_delay(seconds),
        before_sleep=None if on_retry is None else lambda _: on_retry(),
        reraise=True,
    )


def is_passing(error: BaseException) -> bool:
    """Whether a fault may be gone at the next try: time-outs, resets, 500 and 503, a body cut short.

    Of obstore's only connections that broke off: what a store answers, 503 among it, obstore has tried again
    by itself.
    """
    if isinstance(error, oe.BaseError):
        return isinstance(error, oe.GenericError) and "HTTP error" in str(error)
    if isinstance(error, FileNotFoundError | PermissionError):
        return False
    passing = TimeoutError, ConnectionError, be.ConnectionError, be.HTTPClientError
    if isinstance(error, (*passing, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)):
        return True
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status in _BUSY
    return isinstance(error, OSError) and error.errno in _PASSING


def explain_refusal(error: BaseException) -> str | None:
    """What to do about an s3fs error that concerns the credentials, so every file; None for any other."""
    answer = getattr(error.__cause__, "response", {})
    if isinstance(error, _NO_CREDENTIALS) or answer.get("Error", {}).get("Code") in CREDENTIALS:
        return _REFUSED
    return None


def explain_store_error(error: Exception) -> str:
    """What to do about an error of obstore's or of a local disk, followed by the error's own words."""
    text, words = str(error), shorten_store_error(error)
    found = re.search(r"<Code>(\w+)</Code>", text)
    code = found[1] if found else ""
    if code == "NoSuchBucket":
        return f"the bucket does not exist; create it or correct the URI ({words})"
    if code in _FULL or "status code: 507" in text:
        return f"the store is full; make room or raise its quota, then run the same command again ({words})"
    denied = isinstance(error, oe.PermissionDeniedError | oe.UnauthenticatedError)
    # The answer to a HEAD has no body to name a code. AWS answers 400 to expired credentials.
    nameless = "performing HEAD" in text and "status code: 400" in text
    if denied or code == "AccessDenied" or code in CREDENTIALS or nameless:
        return f"{_REFUSED} ({words})"
    if isinstance(error, OSError):
        return error.strerror or words
    if re.search(r"status code: (429|5\d\d)", text):
        return f"the store is busy or failing; run the same command again when it is back ({words})"
    if "HTTP error" in text or "timed out" in text:
        return (
            "the store can't be reached; check storage.endpoint_url, or run the same command again when it "
            f"is back ({words})"
        )
    return words


def shorten_store_error(error: Exception) -> str:
    """The first line of an obstore error in at most 300 characters, with the code of the XML that follows it.

    Of a URL only the host is kept, since the message that quotes this names the object.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0].split(": <?xml")[0] if lines else type(error).__name__
    line = re.sub(r"(https?://[^/\s]+)/\S*", r"\1", line)[:300]
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return f"{line}: {found[1]}" if found else line


def describe_read_error(location: str, error: Exception) -> str:
    """One line that says why the file at `location` could not be read."""
    if isinstance(error, FileNotFoundError):
        return f"{location}: no such file"
    if isinstance(error, PermissionError):
        return f"{location}: access denied; check the credentials and their rights ({shorten_error(error)})"
    return f"{location}: {shorten_error(error)}"


def shorten_error(error: Exception) -> str:
    """An error's type and text as one line of at most 300 characters. Arrow's texts have several lines."""
    return " ".join(describe(error).split())[:300]
