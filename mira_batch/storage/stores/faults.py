"""What the faults of an object store mean: which are passing, and what a user should do about the others."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from typing import TypeVar

import botocore.exceptions as be
from obstore import exceptions as oe
from tenacity import Retrying, retry_if_exception, wait_random_exponential

from mira_batch.config.base import is_remote
from mira_batch.core.errors import StoreError, describe
from mira_batch.storage.stores.credentials import (
    CREDENTIALS,
    REFUSED,
    STATUS,
    Identity,
    explain_identity,
    explain_refusal,
)

T = TypeVar("T")

_FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"}
_BUSY = {408, 429, 500, 502, 503, 504}
_UNPROVEN = 10.0
"""Seconds after which credentials that nobody has set are not waited for, where none ever came."""
_BACK_OFF = wait_random_exponential(multiplier=0.2, max=5)
_PASSING = {errno.EBUSY, errno.EIO, getattr(errno, "EREMOTEIO", errno.EIO), errno.ETIMEDOUT}
"""What s3fs makes of 500, 503, SlowDown and the like."""
_DISK = {
    errno.ENOSPC: "the disk is full; make room there, then run the same command again, which goes on",
    errno.EDQUOT: "the quota of this disk is used up; make room or raise it, then run the same command again",
    errno.EROFS: "this disk is read-only; mount it for writing, or choose another place",
    errno.EACCES: "writing is not permitted here; change the directory's rights, or choose another place",
    errno.EPERM: "writing is not permitted here; change the directory's rights, or choose another place",
    errno.EIO: "the disk fails; look at it (dmesg), then run the same command again",
    errno.ESTALE: "the network disk is gone or was mounted anew; run the same command again when it is back",
    errno.EMFILE: "too many open files; raise the limit (`ulimit -n`), or lower workers.records_in_flight",
    errno.ENFILE: "too many open files on this machine; end what holds them, then run the same command again",
    errno.EFBIG: "a file is larger than this disk or a limit (`ulimit -f`) admits; choose another place",
}
"""What to do about the faults of a local disk."""
_PATH = {
    errno.ELOOP: "is a link that leads back to itself; correct the link, or name the file itself",
    errno.ENAMETOOLONG: "the path or a name in it is longer than this system admits; correct it",
    errno.ENOTDIR: "a part of the path is a file, not a directory; correct the path",
}
"""What is wrong with a local path that can't be read."""
_LATER = "try again when the server is well: a run with another run_id makes failed records again"


def read_errors() -> tuple[type[Exception], ...]:
    """What reading a file through fsspec may raise, whatever its scheme.

    A function, since `except` asks for it when something was raised: aiohttp takes long to import.
    """
    import aiohttp

    return (OSError, ValueError, be.BotoCoreError, aiohttp.ClientError)


class Patience:
    """For how long calls are tried again that fail by a passing fault, with back-off and jitter.

    One clock for all calls that share it: when the first of them has waited so long in vain, those that fail
    beside it or after it don't wait as long once more. Any answer of the store sets the clock back. Safe to
    share by threads.
    """

    def __init__(
        self,
        seconds: float,
        stopped: Callable[[], bool] = lambda: False,
        identity: Identity | None = None,
    ) -> None:
        """
        Args:
            seconds: no try begins later than this after the first one that failed; the last begins just then.
                0: there is one try.
            stopped: whether to wait no longer; asked while waiting.
            identity: of obstore's clients: where it never gave credentials it is soon given up.
        """
        self._identity = identity
        self.seconds = seconds
        self._most = seconds
        """For the fault that came last."""
        self._stopped = stopped
        self._since: float | None = None
        """When the failing began that no answer has ended yet."""
        self._failed = 0.0
        """When a call failed last."""
        self._hurried = False
        self._gone: BaseException | None = None

    def hurry(self) -> None:
        """From now on each call is tried once, and none after one has failed: the run ends."""
        self._hurried = True

    def call(self, function: Callable[[], T], on_retry: Callable[[], None] | None = None) -> T:
        """What `function` returns, tried again where need be.

        Args:
            function: makes the call.
            on_retry: called before each wait for the next try.

        Raises: the error of the last try.
        """
        if self._gone is not None:
            raise self._gone
        began = time.monotonic()

        def attempt() -> T:
            try:
                found = function()
            except Exception as error:
                self._note(error, began)
                raise
            self._since = None
            if self._identity is not None:
                self._identity.note()
            return found

        return Retrying(
            retry=retry_if_exception(is_passing),
            wait=lambda state: min(_BACK_OFF(state), max(0.0, self._count_left(began))),
            stop=lambda _: self._count_left(began) <= 0,
            sleep=self._sleep,
            before_sleep=None if on_retry is None else lambda _: on_retry(),
            reraise=True,
        )(attempt)

    def _note(self, error: BaseException, began: float) -> None:
        now = time.monotonic()
        if self._identity is not None:
            self._identity.note(error)
        if not is_passing(error):  # it answers
            self._since = None
            return
        if self._since is None or now - self._failed > self.seconds:
            self._since = began
        self._failed = now
        missing = self._identity is not None and self._identity.is_missing(error)
        self._most = min(self.seconds, _UNPROVEN) if missing else self.seconds
        if self._hurried:
            self._gone = error

    def _count_left(self, began: float) -> float:
        """Seconds in which a call that began then may be tried again."""
        if self._hurried or self._stopped():
            return 0.0
        since = began if self._since is None else min(began, self._since)
        return since + self._most - time.monotonic()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not (self._stopped() or self._hurried):
            time.sleep(min(left, 0.1))


def call_patiently(
    location: str, patience: Patience, call: Callable[[], T], on_retry: Callable[[], None] | None = None
) -> T:
    """The call's answer, also after tries that failed by a passing fault.

    Args:
        location: what is asked for.
        patience: for how long it is tried again.
        call: asks for it.
        on_retry: called before each wait for the next try.

    Raises:
        StoreError: the object store itself fails or refuses the credentials.
        read_errors(): any other fault of the call.
    """
    try:
        return patience.call(call, on_retry)
    except read_errors() as error:
        if is_web(location):  # the server of one image may be gone for good
            raise
        # A bucket that fails so long fails every record, and so do credentials that are never accepted.
        if is_passing(error):
            raise StoreError(
                f"{location}: the store has failed for {patience.seconds:g} s; run the same command "
                f"again when it is back ({shorten_error(error)})"
            ) from error
        if what := explain_refusal(error):
            raise StoreError(f"{location}: {what} ({shorten_error(error)})") from error
        raise


def is_web(location: str) -> bool:
    """Whether a location is a web server's, of which each may be gone for good, and not a store's."""
    return location.lower().startswith("http")


def is_passing(error: BaseException) -> bool:
    """Whether a fault may be gone at the next try: time-outs, resets, 500 and 503, a body cut short.

    obstore tells all of them by one type, and the rest in words.
    """
    if isinstance(error, oe.BaseError):
        status = STATUS.search(str(error))
        broken = "HTTP error" in str(error) if status is None else int(status[1]) in _BUSY
        return isinstance(error, oe.GenericError) and broken
    if isinstance(error, FileNotFoundError | PermissionError):
        return False
    import aiohttp

    passing = TimeoutError, ConnectionError, be.ConnectionError, be.HTTPClientError
    if isinstance(error, (*passing, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)):
        return True
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status in _BUSY
    return isinstance(error, OSError) and error.errno in _PASSING


def explain_store_error(error: Exception) -> str:
    """What to do about an error of obstore's or of a local disk, followed by the error's own words."""
    text, words = str(error), shorten_store_error(error)
    if why := explain_identity(error):
        return f"{why} ({words})"
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
        return f"{REFUSED} ({words})"
    if region := re.search(r"<Region>([\w-]+)</Region>|incorrectly configured region", text):
        right = region[1] or "its own"
        return f"the bucket is in another region; set AWS_REGION or storage.region to {right} ({words})"
    if isinstance(error, OSError):
        return explain_disk_error(error) or error.strerror or words
    if re.search(r"status code: (429|5\d\d)", text):
        return f"the store is busy or failing; run the same command again when it is back ({words})"
    if "HTTP error" in text or "timed out" in text:
        return (
            "the store can't be reached; check storage.endpoint_url, or run the same command again when it "
            f"is back ({words})"
        )
    return words


def explain_disk_error(error: OSError) -> str | None:
    """What to do about an error of a local disk, in its own words too; None for one that says so itself."""
    cure = _DISK.get(error.errno or 0)
    return f"{cure} ({error.strerror})" if cure else None


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
    if type(error) in (OSError, TimeoutError) and getattr(error, "errno", None) is None:  # our own words
        return f"{location}: {error}"
    if isinstance(error, OSError) and not is_remote(location):
        why = _PATH.get(error.errno or 0) or explain_disk_error(error)
        if why:
            return f"{location}: {why}"
    if is_web(location) and (why := _explain_web_error(error)):
        return f"{location}: {why}"
    return f"{location}: {shorten_error(error)}"


def _explain_web_error(error: Exception) -> str | None:
    """What a web server did in place of giving a file, and what to do; None for what aiohttp says well."""
    import aiohttp

    match error:
        case aiohttp.ClientResponseError():
            answers = f"the server answers {error.status} {error.message}".rstrip()
            again = _LATER if error.status in _BUSY else "open the URI, and check it and your access"
            return f"{answers} in place of the file; {again}"
        case aiohttp.ClientConnectorDNSError():
            return f"no server of the name {error.host} is found; check the URI, and this machine's network"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return f"no secure connection to {error.host}: check its certificate, or the URI"
        case aiohttp.ClientConnectorError():
            where = f"{error.host}:{error.port}"
            return f"the server at {where} takes no connection ({error.os_error.strerror}); {_LATER}"
        case aiohttp.ClientPayloadError() if "content-encoding" in str(error):
            return "the server says that it packed its answer, which can't be unpacked; ask who runs it"
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return f"the server broke off before the end of its answer; {_LATER}"
        case aiohttp.InvalidURL():
            return "is no valid URL; correct the manifest"
        case _:
            return None


def shorten_error(error: Exception) -> str:
    """An error's type and text as one line of at most 300 characters. Arrow's texts have several lines."""
    return " ".join(describe(error).split())[:300]
