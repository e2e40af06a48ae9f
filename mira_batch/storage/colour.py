"""Brings decoded images to RGB or RGBA, 8 bits a channel, upright, in sRGB; refuses what has no such form."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms, ImageOps

from mira_batch.core.errors import RecordError
from mira_batch.core.pixels import has_alpha, read_only_view
from mira_batch.core.types import ErrorKind

_SRGB = ImageCms.createProfile("sRGB")
_LEVELS = np.arange(256, dtype=np.uint8)
_PROBE = Image.fromarray(
    np.stack([np.stack([_LEVELS * r, _LEVELS * g, _LEVELS * b], -1) for r, g, b in np.ndindex(2, 2, 2)])
)
"""Ramps from black to each primary, secondary and white."""
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
_STRIP = "embed the right one, or convert the image to sRGB and remove it"


def make_refusal(name: str, why: str) -> RecordError:
    """The error of an image that can't be read faithfully.

    Args:
        name: the image's.
        why: to be read after it.
    """
    return RecordError(ErrorKind.image_unreadable, f"{name}: {why}")


def scale_to_8_bits(image: Image.Image, data: bytes, name: str) -> Image.Image:
    """Bring other depths to 8 bits, where that is exact; Pillow leaves this, or half of it, to us.

    Args:
        image: as Pillow decoded it.
        data: the encoded image.
        name: the image's, for messages.

    Raises:
        RecordError: it has no exact form of 8 bits.
    """
    key = image.info.get("transparency")
    depth = data[24] if image.format == "PNG" else 8
    if depth < 8 and image.mode == "L" and isinstance(key, int):  # Pillow scales the pixels, not the key
        image.info["transparency"] = key * 255 // (2**depth - 1)
    if depth == 16 and image.mode == "RGB" and key is not None:
        raise make_refusal(name, "has a transparent colour of 16 bits; give it an alpha channel instead")
    if not image.mode.startswith("I;16"):
        return image
    tags = getattr(image, "tag_v2", {})
    if tags.get(_BITS_PER_SAMPLE, (16,)) != (16,):
        raise make_refusal(
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


def normalise(image: Image.Image, name: str) -> Image.Image:
    """Bring an image of 8 bits to RGB or RGBA, upright, in sRGB, without metadata.

    Args:
        image: as `scale_to_8_bits` gives it.
        name: the image's, for messages.

    Raises:
        RecordError: it has no exact form there, or its profile is broken.
    """
    profile = image.info.get("icc_profile")
    if profile is None and "icc_profile" in image.info:
        raise make_refusal(name, f"its ICC profile is broken: it can't be unpacked; {_STRIP}")
    image = ImageOps.exif_transpose(image)
    if image.mode in ("F", "I", "LAB", "HSV"):
        raise make_refusal(name, f"pixel mode {image.mode} has no exact form in 8-bit RGB; convert it first")
    if image.mode == "CMYK" and not profile:
        raise make_refusal(
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
        raise make_refusal(
            name, f"its ICC profile can't be applied, being broken or of another kind ({error}); {_STRIP}"
        ) from error
    assert converted is not None
    return converted


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """By what it does, not by its name: "sRGB-elle-V2-g10" is linear."""
    probed = ImageCms.applyTransform(_PROBE, transform)
    assert probed is not None
    moved = np.asarray(probed).astype(np.int16) - np.asarray(_PROBE)
    return int(np.abs(moved).max()) <= 2
