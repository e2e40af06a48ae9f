"""Images as samples hold them: whoever opens one sees the pixels that the policy sees."""

from __future__ import annotations

from PIL import Image

from mira_batch.config.shared import ManifestConfig
from mira_batch.construct.demonstration import Picture
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.imaging import encode_png
from mira_batch.storage.images import decode, open_image

_PLAIN = ("JPEG", "PNG", "WEBP")


class Unusable(Exception):
    """Bytes that are no image that a job would take. The text says why."""


def keep_exact(data: bytes, name: str, bounds: ManifestConfig) -> Picture:
    """An image as the edit job decodes it, as encoded bytes that any reader decodes to the same pixels: the
    bytes themselves where they are plain, else a PNG (of what is turned upright, converted to sRGB, cut to 8
    bits).

    Args:
        data: as they were found.
        name: of the image, for messages.
        bounds: what the job admits.

    Raises:
        Unusable: they are none.
    """
    try:
        frame = frame_of(decode(data, name, bounds))
    except RecordError as error:
        raise Unusable(str(error)) from error
    return Picture(data if _reads_alike(data, frame.digest) else encode_png(frame.pixels), frame.digest)


def _reads_alike(data: bytes, digest: str) -> bool:
    plain: Image.Image = open_image(data)
    return plain.format in _PLAIN and plain.mode in ("RGB", "RGBA") and frame_of(plain).digest == digest
