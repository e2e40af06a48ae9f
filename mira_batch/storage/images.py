"""From untrusted bytes to a decoded image and back, never silently changing what a person would see.

Decoding gives RGB, or RGBA where the image has transparency, 8 bits a channel, upright, in sRGB:

    EXIF orientation       applied
    gray, bilevel          become RGB
    palette                becomes RGB, or RGBA where it has transparency
    16 bits per channel    scaled to 8
    ICC profile            converted to sRGB, gray ones too
    CMYK                   converted through its ICC profile; refused without one (its colours are unknown)
    12 and 32 bits, floating point, Lab, several frames    refused, with the reason

Bytes and pixels are bounded before anything is decoded.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from mira_batch.config.base import is_remote
from mira_batch.config.shared import ImageOutput, ManifestConfig, StorageConfig
from mira_batch.core.errors import RecordError, StoreError, describe
from mira_batch.core.pixels import encode_png, has_alpha, read_only_view
from mira_batch.core.types import ErrorKind
from mira_batch.storage.spelling import list_spellings
from mira_batch.storage.stores import READ_ERRORS, describe_read_error, file_exists, read_bytes

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
"""What is decoded. Pillow's other, rarer decoders never see untrusted bytes."""
_SRGB = ImageCms.createProfile("sRGB")
_LEVELS = np.arange(256, dtype=np.uint8)
_PROBE = Image.fromarray(
    np.stack([np.stack([_LEVELS * r, _LEVELS * g, _LEVELS * b], -1) for r, g, b in np.ndindex(2, 2, 2)])
)
"""Ramps from black to each primary, secondary and white."""
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
"""TIFF tags."""


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
    """Decode to RGB or RGBA as the module describes.

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
        _refuse_frames(image, name)
        image.load()
        return _normalise(_scale_to_8_bits(image, data, name), name)
    except RecordError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RecordError(ErrorKind.image_too_large, f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise RecordError(
            ErrorKind.image_unreadable, f"{name}: is not an image that can be read ({known})"
        ) from error
    except Exception as error:  # the boundary of untrusted bytes: decoders raise anything on them
        raise RecordError(ErrorKind.image_unreadable, f"{name}: is damaged: {describe(error)}") from error


def _refuse_frames(image: Image.Image, name: str) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's MPO holds previews beside its one picture
        raise _make_refusal(
            name, f"has {frames} frames; an animation or multi-page file can't be edited as one"
        )


def _make_refusal(name: str, why: str) -> RecordError:
    return RecordError(ErrorKind.image_unreadable, f"{name}: {why}")


def _scale_to_8_bits(image: Image.Image, data: bytes, name: str) -> Image.Image:
    """Bring other depths to 8 bits, where that is exact; Pillow leaves this, or half of it, to us."""
    key = image.info.get("transparency")
    depth = data[24] if image.format == "PNG" else 8
    if depth < 8 and image.mode == "L" and isinstance(key, int):  # Pillow scales the pixels, not the key
        image.info["transparency"] = key * 255 // (2**depth - 1)
    if depth == 16 and image.mode == "RGB" and key is not None:
        raise _make_refusal(name, "has a transparent colour of 16 bits; give it an alpha channel instead")
    if not image.mode.startswith("I;16"):
        return image
    tags = getattr(image, "tag_v2", {})
    if tags.get(_BITS_PER_SAMPLE, (16,)) != (16,):
        raise _make_refusal(
            name, f"has {tags[_BITS_PER_SAMPLE][0]} bits per pixel; convert it to 8 or 16 first"
        )
    values = np.asarray(image).astype(np.int32)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow undoes at 8 bits only
        values = 65535 - values
    gray = Image.fromarray(((values + 128) // 257).astype(np.uint8))  # 0 stays 0, 65535 becomes 255
    if key is not None:
        gray.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    gray.info = {k: v for k, v in image.info.items() if k != "transparency"}
    return gray


def _normalise(image: Image.Image, name: str) -> Image.Image:
    """Bring an image of 8 bits to RGB or RGBA, upright, in sRGB, without metadata."""
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if image.mode in ("F", "I", "LAB", "HSV"):
        raise _make_refusal(name, f"pixel mode {image.mode} has no exact form in 8-bit RGB; convert it first")
    if image.mode == "CMYK" and not profile:
        raise _make_refusal(
            name, "is CMYK without an ICC profile, so its colours can't be known; convert it to RGB"
        )
    is_gray = image.mode in ("1", "L", "LA", "La")
    alpha = None
    if has_alpha(image):
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if image.mode not in ("CMYK", "RGB"):
        image = image.convert("RGB")
    if profile and (is_gray or image.mode == "CMYK" or not _is_gray(profile)):
        image = _convert_to_srgb(image, profile, name)
    if alpha is not None:
        image.putalpha(alpha)
    return read_only_view(image)


def _is_gray(profile: bytes) -> bool:
    return profile[16:20] == b"GRAY"


def _convert_to_srgb(image: Image.Image, profile: bytes, name: str) -> Image.Image:
    """Through the profile. One that gives sRGB back within rounding leaves the pixels as they are."""
    if image.mode == "RGB" and _is_gray(profile):
        image = image.convert("L")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, _SRGB, image.mode, "RGB")
        if image.mode == "RGB" and _is_identity(transform):
            return image
        converted = ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError) as error:
        raise _make_refusal(name, f"its ICC profile can't be applied: {error}") from error
    assert converted is not None
    return converted


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """By what it does, not by its name: "sRGB-elle-V2-g10" is linear."""
    probed = ImageCms.applyTransform(_PROBE, transform)
    assert probed is not None
    moved = np.asarray(probed).astype(np.int16) - np.asarray(_PROBE)
    return int(np.abs(moved).max()) <= 2


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
