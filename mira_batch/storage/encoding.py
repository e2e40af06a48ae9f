"""The forms that results are written in."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from mira_batch.config.output import ImageOutput
from mira_batch.core.errors import RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.imaging import SRGB, encode_png
from mira_batch.marks import Labels, label_png

_NONE = Labels()


def encode(
    image: Image.Image, output: ImageOutput, labels: Labels = _NONE, png: bytes | None = None
) -> bytes:
    """Encode a result image in the output's format, as sRGB. The same arguments give the same bytes.

    Args:
        image: RGB or RGBA.
        output: format, quality, and the background for transparent pixels where the format is jpeg.
        labels: what it is to say beside its pixels.
        png: the same image as a PNG of our own writing without labels, where there is one.

    Raises:
        RecordError: editor_failed: the format can't hold an image of this size.
    """
    match output.format:
        case "png":
            return label_png(png or encode_png(image), labels)
        case "webp":
            options: dict[str, Any] = (
                {"lossless": True, "exact": True} if output.quality == 100 else {"quality": output.quality}
            )
        case "jpeg":
            options = {"quality": output.quality, "subsampling": output.chroma}
            if labels.dpi is not None:
                options["dpi"] = labels.dpi
            if image.mode == "RGBA":
                flat = Image.new("RGBA", image.size, output.background)
                flat.alpha_composite(image)
                image = flat.convert("RGB")
    options |= {"icc_profile": SRGB, "exif": labels.exif, "xmp": labels.xmp}
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
