"""Reads one file of untrusted size from anywhere, bounded in bytes and time, and ended when the run ends.

Only regular local files are read, since a pipe or a device may never end. Of a web server redirects are
followed, by hand, only to where the caller admits it.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import stat
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import yarl
from fsspec import AbstractFileSystem

from mira_batch.core.errors import MiraError

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 5
_CHUNK = 1 << 18
_LOOK = 0.1
"""Seconds between looks whether to end a fetch."""
_KINDS = {
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}
Admit = Callable[[str], None]
"""Raises whatever it likes where a server must not lead to this location."""


def refuse_redirect(to: str) -> None:
    """Admits no other location, as a redirect could lead anywhere.

    Raises:
        OSError: always.
    """
    raise OSError(f"the server redirects to {to}, which is not followed")


class FetchStopped(MiraError):
    """The run ends, so the fetch was given up. It says nothing of the file."""


def read_local(path: str, most: int) -> bytes:
    """The first `most` + 1 bytes of a regular local file.

    Args:
        path: of the file.
        most: bytes that are wanted at most.

    Raises:
        OSError: it is no regular file, or can't be read.
    """
    found = os.stat(path)
    if kind := _KINDS.get(stat.S_IFMT(found.st_mode)):
        raise OSError(f"is {kind}, not a file")
    # Were it a pipe by now, opening it would wait for a writer.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:  # a buffer of `most` bytes, as `file.read` makes it, would be mapped and unmapped for each image
        parts, left, size = list[bytes](), most + 1, found.st_size + 1
        while left and (part := os.read(file, min(left, size))):
            parts.append(part)
            left, size = left - len(part), _CHUNK  # whatever it grew by meanwhile
    finally:
        os.close(file)
    return b"".join(parts)


def fetch_remote(
    fs: AbstractFileSystem, path: str, most: int, seconds: float, stopped: Callable[[], bool], admit: Admit
) -> bytes:
    """The first `most` + 1 bytes of a remote file, by one request, and one more for each redirect.

    Args:
        fs: its file system.
        path: its path in that.
        most: bytes that are wanted at most; no more are read.
        seconds: for all of it.
        stopped: whether to give up; asked all the while.
        admit: says where a web server may lead to.

    Raises:
        FetchStopped: it was given up.
        TimeoutError: it took longer.
        Exception: whatever the file system and `admit` raise.
    """
    source: Any = fs
    if "http" in fs.protocol:
        return _await(source, _read_web(source, path, most, admit), seconds, stopped)
    if "s3" in fs.protocol:
        return _await(source, _read_s3(source, path, most), seconds, stopped)
    if fs.async_impl:
        return _await(source, source._cat_file(path, start=0, end=most + 1), seconds, stopped)
    with source.open(path, "rb") as file:  # such as sftp: no limit but its own
        return file.read(most + 1)


def look_up_web(fs: AbstractFileSystem, url: str, seconds: float, admit: Admit) -> dict[str, Any]:
    """What a web server says of a file, as fsspec tells it: `ETag` and `size`, where it says so.

    Args:
        fs: fsspec's file system of the web.
        url: of the file.
        seconds: for all of it.
        admit: says where the server may lead to.

    Raises:
        TimeoutError: it took longer.
        Exception: whatever aiohttp and `admit` raise.
    """
    return _await(fs, _look_up(fs, url, admit), seconds, lambda: False)


def _await(fs: Any, work: Coroutine[Any, Any, T], seconds: float, stopped: Callable[[], bool]) -> T:
    """Run a coroutine on the event loop of a file system."""
    future = asyncio.run_coroutine_threadsafe(_limit(work, seconds), fs.loop)
    while True:
        try:
            return future.result(_LOOK)
        except TimeoutError:
            if future.done():
                raise
        if stopped():
            future.cancel()
            raise FetchStopped


async def _limit(work: Awaitable[T], seconds: float) -> T:
    try:
        return await asyncio.wait_for(work, seconds)
    except TimeoutError as error:
        limits = "storage.timeout_seconds, or what limits.max_seconds_per_record leaves"
        raise TimeoutError(f"no whole answer within {seconds:.3g} s ({limits})") from error


async def _read_web(fs: Any, url: str, most: int, admit: Admit) -> bytes:
    answer = await _ask(fs, "GET", url, admit)
    async with answer:
        if answer.status in (404, 410):
            raise FileNotFoundError(url)
        if answer.status in (401, 403):
            raise PermissionError(f"the server answers {answer.status} {answer.reason}")
        answer.raise_for_status()
        return await _read_parts(answer.content.read, most)


async def _look_up(fs: Any, url: str, admit: Admit) -> dict[str, Any]:
    answer = await _ask(fs, "HEAD", url, admit)
    async with answer:
        plain = answer.headers.get("Content-Encoding", "identity") in ("identity", "")
        tag, size = answer.headers.get("ETag"), answer.headers.get("Content-Length") if plain else None
        if answer.status < 400 and (tag or size):
            return {"ETag": tag, "size": size}
        return await fs._info(str(answer.url))  # by GET, where a server has no HEAD


async def _ask(fs: Any, method: str, url: str, admit: Admit) -> aiohttp.ClientResponse:
    """The answer at the end of all redirects."""
    session: aiohttp.ClientSession = await fs.set_session()
    here = fs.encode_url(url)
    for _ in range(_MOST_REDIRECTS + 1):
        answer = await _request(session, method, here)
        if answer.status not in REDIRECTS:
            if 300 <= answer.status < 400:
                answer.release()
                raise OSError(f"the server answers {answer.status} {answer.reason}, which is no file")
            return answer
        answer.close()
        to = answer.headers.get("Location")
        if to is None:
            raise OSError(f"the server redirects ({answer.status}), but does not say where to")
        here = here.join(yarl.URL(to))
        if here.scheme not in ("http", "https") or here.user is not None:
            where = f"{here.scheme}://{here.host or ''}{here.path}"
            raise OSError(f"the server redirects to {where}, which is not followed")
        admit(str(here))
    raise OSError(f"the server redirects more than {_MOST_REDIRECTS} times, at last to {here}")


async def _request(session: aiohttp.ClientSession, method: str, url: yarl.URL) -> aiohttp.ClientResponse:
    """A server's answer. One that is no HTTP may be the rest of a body that was longer than announced, on a
    connection that is used again: it is asked for once more, on another."""
    import aiohttp

    for again in (True, False):
        try:
            return await session.request(
                method,
                url,
                headers={"Accept-Encoding": "identity"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None),
            )
        except aiohttp.ClientResponseError as error:
            if not again:
                first = error.message.split("\n")[0].rstrip(":")
                what = f"the server's answer is no valid HTTP, or longer than it says ({first})"
                raise OSError(f"{what}; ask who runs it") from error
    raise AssertionError("unreachable")


async def _read_s3(fs: Any, path: str, most: int) -> bytes:
    from s3fs.core import _error_wrapper

    bucket, key, _ = fs.split_path(path)

    async def read() -> tuple[bytes, bool]:
        answer = await fs._call_s3("get_object", Bucket=bucket, Key=key)
        try:
            data = await _read_parts(answer["Body"].read, most)
        finally:
            answer["Body"].close()
        return data, len(data) > most or _fits_tag(data, answer)

    data, fits = await _error_wrapper(read, retries=fs.retries)
    if fits:
        return data
    again, fits = await _error_wrapper(read, retries=fs.retries)
    if not fits and again != data:
        raise OSError(errno.EIO, "two reads give something else each, and neither has the digest of its ETag")
    return again  # the same twice is what the store holds, whatever its ETags are


def _fits_tag(data: bytes, answer: dict[str, Any]) -> bool:
    """Whether bytes have the MD5 that their ETag is, where it is one: not of what came in parts or is
    encrypted by a key of its own."""
    tag = str(answer.get("ETag", "")).strip('"')
    own_key = "kms" in str(answer.get("ServerSideEncryption")) or answer.get("SSECustomerAlgorithm")
    if own_key or not re.fullmatch(r"[0-9a-f]{32}", tag):
        return True
    return hashlib.md5(data, usedforsecurity=False).hexdigest() == tag


async def _read_parts(read: Callable[[int], Awaitable[bytes]], most: int) -> bytes:
    """What comes, up to `most` + 1 bytes: the rest is never asked for."""
    data = bytearray()
    while len(data) <= most and (part := await read(min(_CHUNK, most + 1 - len(data)))):
        data += part
    return bytes(data)
