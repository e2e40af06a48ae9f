"""From untrusted bytes to a decoded image, never silently changing what a person would see.

What is decoded becomes RGB or RGBA, 8 bits a channel, upright, in sRGB, or is refused with the reason
(`imaging/convert.py`). Bytes and pixels are bounded before anything is decoded.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TypeVar, cast
from urllib.parse import unquote

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from mira_batch.config.base import is_remote
from mira_batch.config.shared import ManifestConfig, StorageConfig
from mira_batch.core.errors import RecordError, StoreError, describe
from mira_batch.core.foreign import is_page, name_content
from mira_batch.core.pixels import MOST_PIXELS
from mira_batch.core.types import ErrorKind
from mira_batch.imaging import UnfitImage, load_whole, refuse_frames, to_srgb
from mira_batch.imaging.png_data import drop_texts, find_foreign_colours
from mira_batch.marks import Marks, read_marks
from mira_batch.storage.heif import can_read_heif, find_coded_colours
from mira_batch.storage.spelling import list_spellings
from mira_batch.storage.stores import (
    describe_read_error,
    file_exists,
    find_size,
    read_bytes,
    read_errors,
    read_surely,
)

T = TypeVar("T")

PngImagePlugin.MAX_TEXT_CHUNK = 32 << 20  # of what `drop_texts` leaves: real profiles are above its megabyte

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
"""What is decoded; with the extra `heic` HEIF, too. Pillow's other decoders never see untrusted bytes."""
OWN_RESULTS = ManifestConfig(manifest="/", max_bytes=2_000_000_000, max_pixels=MOST_PIXELS)
"""Bounds for results of ours, which were within their run's own when they were made."""
_SUBFILE, _DNG = 254, 50706
"""TIFF tags."""
_AGAIN = "copy or export it again"


def fetch(
    uri: str,
    source: ManifestConfig,
    storage: StorageConfig,
    on_retry: Callable[[], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
    seconds: float | None = None,
) -> bytes:
    """Read an image's encoded bytes.

    Args:
        uri: a local path or URI.
        source: which locations are allowed, and how many bytes.
        storage: how an object store is reached.
        on_retry: called for each passing fault that is waited out.
        stopped: whether to give up; asked all the while.
        seconds: most that a web server may take for it, all tries together; None sets no limit.

    Raises:
        RecordError: forbidden, unreadable or too large.
        FetchStopped: it was given up.
        StoreError: its object store could not be reached, also after retries.
    """

    def admit(to: str) -> None:
        try:
            check_allowed(to, source.allowed)
        except RecordError as error:
            raise RecordError(error.kind, f"{uri}: the server redirects, but {error}") from error

    check_allowed(uri, source.allowed)
    try:
        data = read_bytes(uri, storage, source.max_bytes, on_retry, stopped, admit, seconds)
    except read_errors() as error:
        hint = _find_other_spelling(uri, source, storage) if isinstance(error, FileNotFoundError) else ""
        raise RecordError(ErrorKind.image_unreadable, describe_read_error(uri, error) + hint) from error
    check_bytes(len(data), uri, source)
    return data


def _find_other_spelling(uri: str, source: ManifestConfig, storage: StorageConfig) -> str:
    """What to say about an image that is there under a name that only looks the same; else nothing."""
    for other, how in list_spellings(uri).items() if not uri.lower().startswith("http") else ():
        try:
            check_allowed(other, source.allowed)
            if file_exists(other, storage):
                return f"; it is there {how}: correct the manifest, or rename the file"
        except (RecordError, StoreError, *read_errors()):
            continue
    return ""


def read_image(
    uri: str,
    use: Callable[[bytes], T],
    source: ManifestConfig,
    storage: StorageConfig,
    on_retry: Callable[[], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
    seconds: float | None = None,
) -> T:
    """What `use` makes of an image's encoded bytes. A remote one that it raises upon is read again first: its
    server may have given a part of it only.

    Args:
        uri: a local path or URI.
        use: as `decode`.
        source, storage, on_retry, stopped, seconds: as `fetch` takes them.

    Raises:
        RecordError, FetchStopped, StoreError: as `fetch`; also a StoreError where a store answers each read
            otherwise.
        Exception: whatever `use` raises.
    """
    fetch_now = partial(fetch, uri, source, storage, on_retry, stopped, seconds)
    if not is_remote(uri):
        return use(fetch_now())

    def are_alike(one: bytes, other: bytes) -> bool:
        """A server's page is never twice the same."""
        return one == other or (is_page(one) and is_page(other))

    size = partial(find_size, uri, storage)
    try:
        found = read_surely(fetch_now, use, size, storage.retry_seconds, uri, stopped, are_alike)
    except StoreError as error:
        if uri.lower().startswith("http"):  # the server of one image, which it may never give
            raise RecordError(ErrorKind.image_unreadable, str(error)) from error
        raise
    return cast("T", found)


def check_bytes(size: int, name: str, source: ManifestConfig) -> None:
    """Refuse encoded images above `input.max_bytes`.

    Args:
        size: of the encoded image, in bytes.
        name: the image's, for the message.
        source: the bound.

    Raises:
        RecordError: image_too_large.
    """
    if size > source.max_bytes:
        raise RecordError(
            ErrorKind.image_too_large,
            f"{name}: more than {source.max_bytes:,} bytes; raise input.max_bytes to admit it",
        )


@lru_cache(maxsize=4096)
def _resolve_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _resolve_path(path: str) -> str:
    """As `os.path.realpath`, which asks the system about every part of the path; folders are cached."""
    folder, name = os.path.split(path)
    there = os.path.join(_resolve_folder(folder), name)
    return os.path.realpath(there) if name in ("", ".") or os.path.islink(there) else there


def check_allowed(uri: str, allow: tuple[str, ...]) -> None:
    """Refuse URIs outside the prefixes, chained URLs, and paths with '..' or links that lead outside.

    Args:
        uri: a local path or URI.
        allow: the prefixes, local directories or URIs, as `input.allow`.

    Raises:
        RecordError: image_forbidden, with the reason.
    """
    path = unquote(uri) if is_remote(uri) else uri  # HTTP clients resolve %2e%2e as they do ..
    if "::" in path or "\0" in path or ".." in path.replace("\\", "/").split("/"):
        raise RecordError(
            ErrorKind.image_forbidden, f"{uri!r}: '..', '::' and NUL are not allowed in image URIs"
        )
    target = uri if is_remote(uri) else _resolve_path(uri)
    for prefix in allow:
        base = (prefix if is_remote(prefix) else _resolve_folder(prefix)).rstrip("/")
        if target == base or target.startswith(base + "/"):
            return
    raise RecordError(
        ErrorKind.image_forbidden,
        f"{uri}: lies outside input.allow ({', '.join(allow)}); add its prefix there to admit it",
    )


def decode(data: bytes, name: str, source: ManifestConfig) -> Image.Image:
    """Decode to RGB or RGBA as `imaging/convert.py` describes.

    Args:
        data: the encoded image.
        name: the image's, for messages.
        source: the bound on pixels.

    Returns:
        The image, without metadata.

    Raises:
        RecordError: image_unreadable or image_too_large, with the reason.
    """
    return _decode(data, name, source, lambda _: None)[0]


def decode_marked(
    data: bytes, name: str, source: ManifestConfig, keep: bool = False
) -> tuple[Image.Image, Marks]:
    """As `decode`, and what the image says beside its pixels.

    Args:
        data, name, source: as `decode` takes them.
        keep: whether its EXIF and XMP are wanted as a whole.

    Raises:
        RecordError: as `decode`.
    """
    return _decode(data, name, source, lambda image: read_marks(image, data, keep))


def _decode(
    data: bytes, name: str, source: ManifestConfig, read: Callable[[Image.Image], T]
) -> tuple[Image.Image, T]:
    try:
        image = open_image(data)
        width, height = image.size
        if width * height > source.max_pixels:
            what = f"{name}: {width} x {height} is more than {source.max_pixels:,} pixels"
            raise RecordError(ErrorKind.image_too_large, f"{what}; {_advise_size(width * height)}")
        _refuse_raw(image)
        refuse_frames(image)
        if colours := _find_colours(image, data):
            raise UnfitImage(f"has {colours} and no ICC profile; convert it to sRGB, or embed a profile")
        try:
            load_whole(image, data)
        except UnfitImage as error:
            raise UnfitImage(f"{error}; {_AGAIN}") from error
        found = read(image)
        return to_srgb(image, data), found
    except (RecordError, MemoryError):
        raise
    except UnfitImage as error:
        raise RecordError(ErrorKind.image_unreadable, f"{name}: {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # from the header
        what = f"{name}: is larger than {source.max_pixels:,} pixels"
        raise RecordError(ErrorKind.image_too_large, f"{what}; {_advise_size(MOST_PIXELS + 1)}") from error
    except UnidentifiedImageError as error:
        known = f"is not an image that can be read ({', '.join(_list_formats())})"
        found = name_content(data, can_read_heif())
        what = f"{known}: it is {found[0]}; {found[1]}" if found else known
        raise RecordError(ErrorKind.image_unreadable, f"{name}: {what}") from error
    except Exception as error:  # the boundary of untrusted bytes: decoders raise anything on them
        words = describe(error)
        what = "is damaged: it ends too early" if "truncated" in words.lower() else "is damaged"
        raise RecordError(ErrorKind.image_unreadable, f"{name}: {what}: {words}; {_AGAIN}") from error


def _advise_size(pixels: int) -> str:
    """What to do about an image of too many pixels."""
    if pixels <= MOST_PIXELS:
        return "raise input.max_pixels to admit it"
    return f"scale it down first: input.max_pixels admits {MOST_PIXELS:,} at most"


def open_image(data: bytes) -> Image.Image:
    """An image's header, by the formats that are decoded; nothing of what it says is to be trusted.

    Raises:
        Exception: whatever Pillow raises on bytes that are none.
    """
    return Image.open(io.BytesIO(drop_texts(data)), formats=_list_formats())


def _list_formats() -> tuple[str, ...]:
    return (*FORMATS, "HEIF") if can_read_heif() else FORMATS


def _find_colours(image: Image.Image, data: bytes) -> str:
    """In which colours other than sRGB an image says that it is, otherwise than by an ICC profile."""
    if image.format == "PNG":
        return find_foreign_colours(data)
    return find_coded_colours(data) if image.format in ("AVIF", "HEIF") else ""


def _refuse_raw(image: Image.Image) -> None:
    """Of a camera's raw file in TIFF's form Pillow would take the small preview for the image."""
    tags = getattr(image, "tag_v2", {})
    if _DNG in tags or tags.get(_SUBFILE, 0) & 1:
        raise UnfitImage("is a camera's raw file, or holds a small preview first; develop it to PNG or JPEG")
