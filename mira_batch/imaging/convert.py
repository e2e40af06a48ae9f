"""From an image of any mode to what an edit works on, never silently changing what a person would see.

That is RGB, or RGBA where the image has transparency, 8 bits a channel, upright, in sRGB:

    EXIF orientation       applied
    gray, bilevel          become RGB
    palette                becomes RGB, or RGBA where it has transparency; a TIFF's may have 8 bits a channel
    16 bits, gray          rounded to 8
    16 bits per channel    cut to the upper 8 where there are several channels: Pillow gives no more of them
    ICC profile            converted to sRGB, gray ones too
    CMYK                   converted through its ICC profile; refused without one (its colours are unknown)
    12 and 32 bits, floating point, Lab, several frames, planes of 16 bits    refused, with the reason
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile

from mira_batch.core.pixels import has_alpha, read_only_view
from mira_batch.imaging.srgb import SRGB

_SRGB = ImageCms.createProfile("sRGB")
_LEVELS = np.arange(256, dtype=np.uint8)
_PROBE = Image.fromarray(
    np.stack([np.stack([_LEVELS * r, _LEVELS * g, _LEVELS * b], -1) for r, g, b in np.ndindex(2, 2, 2)])
)
"""Ramps from black to each primary, secondary and white."""
_BITS_PER_SAMPLE, _COMPRESSION, _PHOTOMETRIC, _PLANES, _COLOUR_MAP = 258, 259, 262, 284, 320
"""TIFF tags."""
_STRIP = "embed the right one, or convert the image to sRGB and remove it"
_INEXACT = ("F", "I", "LAB", "HSV")
_TURN = Image.Transpose
_UPRIGHT = {
    2: _TURN.FLIP_LEFT_RIGHT,
    3: _TURN.ROTATE_180,
    4: _TURN.FLIP_TOP_BOTTOM,
    5: _TURN.TRANSPOSE,
    6: _TURN.ROTATE_270,
    7: _TURN.TRANSVERSE,
    8: _TURN.ROTATE_90,
}
"""What puts an image upright, by its EXIF orientation."""
_SHORT = 3
"""EXIF's type of a number of 16 bits."""


class UnfitImage(ValueError):
    """An image that has no exact form in 8-bit RGB; the text says why, of an "it"."""


def to_srgb(image: Image.Image, data: bytes = b"") -> Image.Image:
    """Convert as the module describes.

    Args:
        image: of any mode, loaded.
        data: what it was decoded from, if anything: Pillow doesn't tell the bit depth of a PNG.

    Returns:
        The image without metadata; it may share pixels with the one that was given.

    Raises:
        UnfitImage: it can't be converted exactly.
    """
    if image.mode in ("RGB", "RGBA") and not image.info:
        return read_only_view(image)
    image = _scale_to_8_bits(image, data)
    profile = image.info.get("icc_profile")
    if profile is None and "icc_profile" in image.info:
        raise UnfitImage(f"its ICC profile is broken: it can't be unpacked; {_STRIP}")
    turn = _UPRIGHT.get(find_orientation(image))  # Pillow's own way fails on any odd value in EXIF
    image = image.copy() if turn is None else image.transpose(turn)
    if image.mode in _INEXACT:
        raise UnfitImage(f"pixel mode {image.mode} has no exact form in 8-bit RGB; convert it first")
    if image.mode == "CMYK" and not profile:
        raise UnfitImage("is CMYK without an ICC profile, so its colours can't be known; convert it to RGB")
    is_gray = image.mode in ("1", "L", "LA", "La")
    if image.mode == "La":  # from which Pillow knows no other way
        image = image.convert("LA")
    alpha = None
    if has_alpha(image):
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if image.mode not in ("CMYK", "RGB"):
        image = image.convert("RGB")
    if profile and (is_gray or image.mode == "CMYK" or not _is_gray(profile)):
        image = _convert_to_srgb(image, profile)
    if alpha is not None:
        image.putalpha(alpha)
    return read_only_view(image)


def refuse_frames(image: Image.Image) -> None:
    """Refuse an image of several frames, loaded or not.

    Args:
        image: as it was opened.

    Raises:
        UnfitImage: it is an animation or has several pages.
    """
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's MPO holds previews beside its one picture
        raise UnfitImage(f"has {frames} frames; an animation or multi-page file can't be edited as one")


def _scale_to_8_bits(image: Image.Image, data: bytes) -> Image.Image:
    """Bring other depths to 8 bits, where that is exact; Pillow leaves this, or half of it, to us."""
    key = image.info.get("transparency")
    depth = data[24] if image.format == "PNG" and data else 8
    if depth < 8 and image.mode == "L" and isinstance(key, int):  # Pillow scales the pixels, not the key
        image.info["transparency"] = key * 255 // (2**depth - 1)
    if depth == 16 and image.mode == "RGB" and key is not None:
        raise UnfitImage("has a transparent colour of 16 bits; give it an alpha channel instead")
    tags = getattr(image, "tag_v2", {})
    bits, in_planes = tags.get(_BITS_PER_SAMPLE, (16,)), tags.get(_PLANES) == 2
    if in_planes and len(bits) > 1 and bits[0] == 16 and tags.get(_COMPRESSION) == 1:
        # Pillow takes each byte for a pixel
        raise UnfitImage("has 16 bits in uncompressed planes; save it interleaved or compressed")
    if image.mode == "P" and 0 < max(colours := tags.get(_COLOUR_MAP, (0,))) < 256:
        image = image.copy()  # an old writer's map of 8 bits, of which Pillow takes the upper ones, all black
        image.putpalette(np.reshape(colours, (3, -1)).T.astype(np.uint8).tobytes())
    if not image.mode.startswith("I;16"):
        return image
    if bits != (16,):
        raise UnfitImage(f"has {bits[0]} bits per pixel; convert it to 8 or 16 first")
    values = np.asarray(image).astype(np.int32)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow undoes at 8 bits only
        values = 65535 - values
    gray = Image.fromarray(((values + 128) // 257).astype(np.uint8))  # 0 stays 0, 65535 becomes 255
    if key is not None:
        gray.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    gray.info = {k: v for k, v in image.info.items() if k != "transparency"}
    return gray


def find_orientation(image: Image.Image) -> Any:
    """By EXIF, and whatever that says: 1 to 8, if it is honest; 1 where it says nothing or can't be read.

    Args:
        image: as it was opened; a TIFF that is loaded is upright already.
    """
    for _ in range(2):  # asked again, Pillow gives what it had read before it failed
        try:
            found = image.getexif().get(ExifTags.Base.Orientation)
            if found is None and isinstance(image, ImageFile.ImageFile):
                found = _find_entry(image.info.get("exif", b""))
            return 1 if found is None else found
        except MemoryError:
            raise
        except Exception:  # the boundary of foreign data: readers raise anything
            continue
    return 1


def _find_entry(exif: bytes) -> int | None:
    """The orientation, which is in its entry. Pillow reads none after one that points out of the file."""
    data = exif.removeprefix(b"Exif\0\0")
    if not data:
        return None
    order = ">" if data.startswith(b"MM") else "<"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", data, at)
        if (tag, kind) == (ExifTags.Base.Orientation, _SHORT):
            return value
    return None


def _is_gray(profile: bytes) -> bool:
    return profile[16:20] == b"GRAY"


def _convert_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Through the profile. One that gives sRGB back within rounding leaves the pixels as they are."""
    if profile == SRGB and image.mode == "RGB":
        return image
    if image.mode == "RGB" and _is_gray(profile):
        image = image.convert("L")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, _SRGB, image.mode, "RGB")
        if image.mode == "RGB" and _is_identity(transform):
            return image
        converted = ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError) as error:
        raise UnfitImage(
            f"its ICC profile can't be applied, being broken or of another kind ({error}); {_STRIP}"
        ) from error
    assert converted is not None
    return converted


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """By what it does, not by its name: "sRGB-elle-V2-g10" is linear."""
    probed = ImageCms.applyTransform(_PROBE, transform)
    assert probed is not None
    moved = np.asarray(probed).astype(np.int16) - np.asarray(_PROBE)
    return int(np.abs(moved).max()) <= 2
