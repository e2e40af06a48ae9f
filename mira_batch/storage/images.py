"""From untrusted bytes to a decoded image and back, never silently changing what a person would see.

Decoding gives RGB, or RGBA where the image has transparency, 8 bits a channel, upright, in sRGB:

    EXIF orientation       applied
    gray, bilevel          become RGB
    palette                becomes RGB, or RGBA where it has transparency
    16 bits per channel    scaled to 8
    ICC profile            converted to sRGB
    CMYK                   converted through its ICC profile; refused without one (its colours are unknown)
    floating point, Lab, several frames    refused, with the reason

Bytes and pixels are bounded before anything is decoded.
"""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from mira_batch.config.base import is_remote
from mira_batch.config.bulk_edit import InputConfig, OutputConfig, StorageConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.storage.files import READ_ERRORS, read_bytes, unreadable

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
"""What is decoded; Pillow's other, rarer decoders are not offered to untrusted bytes."""
_SRGB = ImageCms.createProfile("sRGB")
_WIDE = {"I;16", "I;16L", "I;16B", "I;16N"}


def fetch(uri: str, source: InputConfig, storage: StorageConfig) -> bytes:
    """An image's encoded bytes.

    Raises:
        RecordError: forbidden, unreadable or too large.
    """
    check_allowed(uri, source.allowed)
    try:
        data = read_bytes(uri, storage, source.max_bytes)
    except READ_ERRORS as error:
        raise RecordError(ErrorKind.image_unreadable, unreadable(uri, error)) from error
    check_bytes(len(data), uri, source)
    return data


def check_bytes(size: int, name: str, source: InputConfig) -> None:
    """Refuse encoded images above `input.max_bytes`."""
    if size > source.max_bytes:
        raise RecordError(
            ErrorKind.image_too_large,
            f"{name}: more than {source.max_bytes:,} bytes; raise input.max_bytes to admit it",
        )


def check_allowed(uri: str, allow: tuple[str, ...]) -> None:
    """Refuse URIs outside the prefixes, chained URLs, and paths that climb out or follow links out."""
    if "::" in uri or ".." in uri.replace("\\", "/").split("/"):
        raise RecordError(ErrorKind.image_forbidden, f"{uri}: '..' and '::' are not allowed in image URIs")
    target = uri if is_remote(uri) else os.path.realpath(uri)
    for prefix in allow:
        base = (prefix if is_remote(prefix) else os.path.realpath(prefix)).rstrip("/")
        if target == base or target.startswith(base + "/"):
            return
    raise RecordError(
        ErrorKind.image_forbidden,
        f"{uri}: lies outside input.allow ({', '.join(allow)}); add its prefix there to admit it",
    )


def decode(data: bytes, name: str, source: InputConfig) -> Image.Image:
    """Decode to RGB or RGBA as the module describes.

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
        return _normalised(image, name)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RecordError(ErrorKind.image_too_large, f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise RecordError(
            ErrorKind.image_unreadable, f"{name}: is not an image that can be read ({known})"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError, MemoryError) as error:
        raise RecordError(ErrorKind.image_unreadable, f"{name}: is damaged: {error}") from error


def _refuse_frames(image: Image.Image, name: str) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's MPO holds previews beside its one picture
        raise RecordError(
            ErrorKind.image_unreadable,
            f"{name}: has {frames} frames; an animation or multi-page file can't be edited as one image",
        )


def _normalised(image: Image.Image, name: str) -> Image.Image:
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if image.mode in _WIDE or (image.mode == "I" and image.format in (None, "PNG", "TIFF")):
        image = _from_wide(image, name)
        profile = None
    if image.mode in ("F", "I", "LAB", "HSV"):
        raise RecordError(
            ErrorKind.image_unreadable,
            f"{name}: pixel mode {image.mode} has no exact form in 8-bit RGB; convert it first",
        )
    has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    target = "RGBA" if has_alpha else "RGB"
    if image.mode == "CMYK":
        if not profile:
            raise RecordError(
                ErrorKind.image_unreadable,
                f"{name}: is CMYK without an ICC profile, so its colours can't be known; convert it to RGB",
            )
        return _to_srgb(image, profile, name, "RGB")
    image = image if image.mode == target else image.convert(target)
    if profile and not _is_gray(profile):
        image = _to_srgb(image, profile, name, target)
    return Image.frombytes(target, image.size, image.tobytes())  # sheds metadata and the file


def _from_wide(image: Image.Image, name: str) -> Image.Image:
    """16-bit gray to 8: 0 stays 0 and 65535 becomes 255."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise RecordError(
            ErrorKind.image_unreadable, f"{name}: 32-bit pixels have no known range; convert it first"
        )
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _is_gray(profile: bytes) -> bool:
    return profile[16:20] == b"GRAY"


def _to_srgb(image: Image.Image, profile: bytes, name: str, target: str) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in (ImageCms.getProfileDescription(source) or ""):
            return image
        alpha = image.getchannel("A") if image.mode == "RGBA" else None
        colours = image.convert("RGB") if alpha else image
        converted: Any = ImageCms.profileToProfile(colours, source, _SRGB, outputMode="RGB")
        if alpha:
            converted.putalpha(alpha)
        return converted.convert(target)
    except (ImageCms.PyCMSError, OSError) as error:
        raise RecordError(
            ErrorKind.image_unreadable, f"{name}: its ICC profile can't be applied: {error}"
        ) from error


def encode_png(image: Image.Image) -> bytes:
    """Lossless and quick: the form of the step log. Level 1 costs a third of the default's time."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def encode(image: Image.Image, output: OutputConfig) -> bytes:
    """The bytes of a result image in the output's format."""
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
