"""A plain script of Pillow, as people write it for one catalogue: open, three edits, save."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

INSTRUCTION = "rotate it 90 degrees clockwise, resize it to 800x600 and add a 12 px white border around it"
"""What it does, in words for ours."""


def edit_images(images: list[str], output: str, form: str) -> dict[str, Any]:
    """All of the work.

    Args:
        images: paths.
        output: the folder for the results.
        form: png or jpeg; the first as Pillow writes it unless told otherwise, the second at quality 90.

    Returns seconds of CPU.
    """
    folder = Path(output)
    folder.mkdir(parents=True)
    began = time.process_time()
    for path in images:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
        image = image.transpose(Image.Transpose.ROTATE_270)
        image = image.resize((800, 600), Image.Resampling.LANCZOS)
        image = ImageOps.expand(image, 12, "white")
        image.save(folder / f"{Path(path).stem}.{form}", quality=90)  # which a PNG ignores
    return {"cpu": time.process_time() - began}
