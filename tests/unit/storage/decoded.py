"""What becomes of an image's bytes: its pixels, or why it is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from mira_batch.config.edit import InputConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.storage.images import decode

SOURCE = InputConfig(manifest="/data/manifest.jsonl")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def shown(data: bytes, source: InputConfig = SOURCE) -> Image.Image:
    image = decode(data, "pic", source)
    assert image.mode in ("RGB", "RGBA")
    assert image.info == {} and not image.getexif()
    return image


def pixels(image: Image.Image) -> list[tuple[int, ...]]:
    return [tuple(map(int, pixel)) for row in np.asarray(image) for pixel in row]


def refused(data: bytes, source: InputConfig = SOURCE) -> tuple[ErrorKind, str]:
    with pytest.raises(RecordError) as error:
        decode(data, "pic", source)
    text = str(error.value)
    assert text.startswith("pic: ") and len(text) < 400
    return error.value.kind, text


def unreadable(data: bytes) -> str:
    kind, text = refused(data)
    assert kind is ErrorKind.image_unreadable
    return text


def same(left: Image.Image, right: Image.Image) -> bool:
    return left.mode == right.mode and left.size == right.size and left.tobytes() == right.tobytes()


LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True, "exact": True}, "TIFF": {}, "BMP": {}}
LEVELS = np.array([[0, 1, 128, 129, 257, 32768, 65406, 65535]], dtype=np.uint16)
