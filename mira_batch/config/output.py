"""The form of the images that a job writes."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from mira_batch.config.base import Strict


class ImageOutput(Strict):
    """The form of images that are written."""

    format: Literal["png", "webp", "jpeg"] = "png"
    """Encoding of result images. png is lossless, and so is webp at quality 100; jpeg is not."""
    quality: int = Field(default=90, ge=1, le=100)
    """Quality of jpeg and webp; 100 makes webp lossless. png ignores it."""
    background: str = "#ffffff"
    """What shows through transparent pixels in jpeg, which has no alpha: `#rrggbb`."""

    subsampling: Literal["auto", "4:4:4", "4:2:2", "4:2:0"] = "auto"
    """How finely jpeg keeps colour: 4:4:4 for each pixel; 4:2:2 for two, and 4:2:0 for four together, which
    makes smaller files and blurs the edges of coloured text. auto is 4:4:4 at quality 90 and above, else
    4:2:0."""
    metadata: Literal["keep", "rights", "none"] = "rights"
    """What a result takes over of its source's EXIF, XMP and IPTC. rights: copyright, artist, credit and
    description, and the resolution (dpi); keep: all that is as true of the result, GPS included; none:
    nothing. Never the orientation, since pixels are upright, nor a camera maker's note."""
    provenance: bool = True
    """Whether a result says how it came to be: IPTC's DigitalSourceType in XMP, that of the editor if it was
    edited, else its source's."""

    @field_validator("background")
    @classmethod
    def _colour(cls, value: str) -> str:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            raise ValueError(f"{value!r} is not a colour of the form #rrggbb")
        return value.lower()

    @property
    def chroma(self) -> str:
        """The subsampling of colour in jpeg: 4:4:4, 4:2:2 or 4:2:0."""
        if self.subsampling != "auto":
            return self.subsampling
        return "4:4:4" if self.quality >= 90 else "4:2:0"

    def form(self) -> dict[str, Any]:
        """Which of the settings that decide an image's bytes differ from their defaults, as plain JSON
        data. What has no effect in this format is not among them."""
        given = {"metadata": self.metadata, "provenance": self.provenance}
        if self.format == "jpeg":
            usual = self.model_copy(update={"subsampling": "auto"}).chroma
            given["subsampling"] = "auto" if self.chroma == usual else self.chroma
        return {
            name: value for name, value in given.items() if value != type(self).model_fields[name].default
        }
