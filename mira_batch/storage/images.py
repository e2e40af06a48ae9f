"""From untrusted bytes to a decoded image and back, never silently changing what a person would see.

What is decoded becomes RGB or RGBA, 8 bits a channel, upright, in sRGB, or is refused with the reason
(`imaging/convert.py`). Bytes and pixels are bounded before anything is decoded.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from PIL import Image, UnidentifiedImageError

from mira_batch.config.base import is_remote
from mira_batch.config.shared import ImageOutput, ManifestConfig, StorageConfig
from mira_batch.core.errors import RecordError, StoreError, describe
from mira_batch.core.pixels import encode_png
from mira_batch.core.types import ErrorKind
from mira_batch.imaging import UnfitImage, refuse_frames, to_srgb
from mira_batch.storage.spelling import list_spellings
from mira_batch.storage.stores import READ_ERRORS, describe_read_error, file_exists, read_bytes

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
"""What is decoded. Pillow's other, rarer decoders never see untrusted bytes."""


def fetch(
    uri: str, source: ManifestConfig, storage: StorageConfig, on_retry: Callable[[], None] | None = None
) -> bytes:
    """Read an image's encoded bytes.

    Args:
        uri: a local path or URI.
        source: which locations are allowed, and how many bytes.
        storage: how an object store is reached.
        on_retry: called for each passing fault that is waited out.

    Raises:
        RecordError: forbidden, unreadable or too large.
        StoreError: its object store could not be reached, also after retries.
    """
    check_allowed(uri, source.allowed)
    try:
        data = read_bytes(uri, storage, source.max_bytes, on_retry)
    except READ_ERRORS as error:
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
        except (RecordError, StoreError, *READ_ERRORS):
            continue
    return ""


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
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = image.size
        if width * height > source.max_pixels:
            raise RecordError(
                ErrorKind.image_too_large,
                f"{name}: {width} x {height} is more than {source.max_pixels:,} pixels; "
                "raise input.max_pixels to admit it",
            )
        refuse_frames(image)
        image.load()
        return to_srgb(image, data)
    except (RecordError, MemoryError):
        raise
    except UnfitImage as error:
        raise RecordError(ErrorKind.image_unreadable, f"{name}: {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RecordError(ErrorKind.image_too_large, f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise RecordError(
            ErrorKind.image_unreadable, f"{name}: is not an image that can be read ({known})"
        ) from error
    except Exception as error:  # the boundary of untrusted bytes: decoders raise anything on them
        raise RecordError(ErrorKind.image_unreadable, f"{name}: is damaged: {describe(error)}") from error


def encode(image: Image.Image, output: ImageOutput) -> bytes:
    """Encode a result image in the output's format.

    Args:
        image: RGB or RGBA.
        output: format, quality, and the background for transparent pixels where the format is jpeg.

    Raises:
        RecordError: editor_failed: the format can't hold an image of this size.
    """
    match output.format:
        case "png":
            return encode_png(image)
        case "webp":
            options: dict[str, Any] = (
                {"lossless": True, "exact": True} if output.quality == 100 else {"quality": output.quality}
            )
        case "jpeg":
            options = {"quality": output.quality}
            if image.mode == "RGBA":
                flat = Image.new("RGBA", image.size, output.background)
                flat.alpha_composite(image)
                image = flat.convert("RGB")
    buffer = io.BytesIO()
    try:
        image.save(buffer, output.format, **options)
    except (OSError, ValueError) as error:
        raise RecordError(
            ErrorKind.editor_failed,
            f"a {image.width} x {image.height} image can't be written as {output.format}: {error}; "
            "choose output.format png",
        ) from error
    return buffer.getvalue()
