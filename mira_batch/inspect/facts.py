"""Facts of one image: what its file says, and what its pixels look like. Pure functions over bytes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from mira_batch.config.shared import ManifestConfig
from mira_batch.core.identity import content_hash, frame_of
from mira_batch.core.pixels import MOST_PIXELS
from mira_batch.imaging import find_orientation
from mira_batch.marks import find_depth
from mira_batch.storage.images import decode, open_image

LONG_SIDE = 1024
"""Sharpness is measured at this size at most, so that it compares between resolutions."""
BORDER = 0.02
"""Width of the border, as a part of the shorter side; at least a pixel."""
NEAR_WHITE = 250
"""Least value of red, green and blue of a pixel that counts as white."""


def read_header(data: bytes, most_pixels: int = MOST_PIXELS) -> dict[str, Any]:
    """What an image file says of itself.

    Args:
        data: the encoded image.
        most_pixels: of an image with more nothing is decoded, as may be needed to find a PNG's EXIF.

    Returns:
        Those of `format`, `mode`, `depth` (bits per channel), `frames`, `icc_profile` (its description) and
        `exif_orientation` (1 to 8) that can be had, and always `bytes` and `file_digest`.
    """
    facts: dict[str, Any] = {"bytes": len(data), "file_digest": content_hash(data)}
    try:
        image = open_image(data)
        facts |= {"format": image.format, "mode": image.mode, "depth": find_depth(image, data)}
        if image.width * image.height <= most_pixels:
            facts["exif_orientation"] = find_orientation(image)
        if profile := image.info.get("icc_profile"):
            facts["icc_profile"] = _describe_profile(profile)
        facts["frames"] = getattr(image, "n_frames", 1)
    except Exception:  # the boundary of untrusted bytes: what was read until then stands; `decode` says why
        pass
    if facts.get("exif_orientation") not in range(1, 9):
        facts.pop("exif_orientation", None)
    return facts


def measure_pixels(data: bytes, name: str, source: ManifestConfig) -> dict[str, Any]:
    """Decode an image as an edit would, and measure it.

    Args:
        data: the encoded image.
        name: the image's, for messages.
        source: the bound on pixels.

    Returns:
        `width`, `height`, `pixels`, `has_alpha`, `pixel_digest`, `sharpness`, `luminance`, `white_border`.

    Raises:
        RecordError: it can't be decoded faithfully, with the reason.
    """
    image = decode(data, name, source)
    luma = image.convert("L")
    return {
        "width": image.width,
        "height": image.height,
        "pixels": image.width * image.height,
        "has_alpha": image.mode == "RGBA",
        "pixel_digest": frame_of(image).digest,
        "sharpness": measure_sharpness(luma),
        "luminance": float(np.asarray(luma).mean()) / 255,
        "white_border": measure_white_border(image),
    }


def measure_sharpness(luma: Image.Image) -> float:
    """Variance of the Laplacian: of four times each pixel less its four neighbours, in 8-bit levels squared.

    Args:
        luma: an image in mode L. One with a longer side than `LONG_SIDE` is scaled down first.

    Returns:
        0 for an image without any edge, and for one of less than 3 pixels in a direction. What counts as
        blurred depends on the subject: compare within a catalogue.

    Source: J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000 (LAPV).
    """
    if max(luma.size) > LONG_SIDE:
        luma = luma.copy()
        luma.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.BOX)
    if min(luma.size) < 3:
        return 0.0
    v = np.asarray(luma).astype(np.int32)
    laplacian = 4 * v[1:-1, 1:-1] - v[:-2, 1:-1] - v[2:, 1:-1] - v[1:-1, :-2] - v[1:-1, 2:]
    return float(laplacian.var())


def measure_white_border(image: Image.Image) -> float:
    """Share of the border's pixels, 0 to 1, that are near white; transparent ones count as white.

    Args:
        image: RGB or RGBA.
    """
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    white = np.all(np.asarray(image) >= NEAR_WHITE, axis=2)
    width = max(1, round(BORDER * min(image.size)))
    inner = white[width:-width, width:-width]
    border = white.size - inner.size
    return float(white.sum() - inner.sum()) / border


def _describe_profile(profile: bytes) -> str:
    try:
        text = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return "unreadable"
    return text.strip().encode("utf-8", "replace").decode()[:200]
