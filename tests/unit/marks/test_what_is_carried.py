"""A photograph with EXIF, Display P3, XMP and 300 dpi goes in; what comes out in png, webp and jpeg.
Each row of the table in docs/provenance.md is a test here, under the row's own words."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image, ImageCms, JpegImagePlugin

from mira_batch.config.edit import InputConfig, OutputConfig
from mira_batch.core.source_type import GENERATIVE, VOCABULARY
from mira_batch.imaging import SRGB
from mira_batch.marks import make_labels
from mira_batch.storage.encoding import encode
from mira_batch.storage.images import decode, decode_marked
from tests.support import ROOT
from tests.support.sources import (
    ARTIST,
    COPYRIGHT,
    CREDIT,
    DESCRIPTION,
    read_dpi,
    read_exif,
    read_xmp,
    rich_jpeg,
)

SOURCE = InputConfig(manifest="/data/manifest.jsonl")
FORMS = ("png", "webp", "jpeg")
PHOTOGRAPH = rich_jpeg()


def result_of(form: str, metadata: str = "rights", data: bytes = PHOTOGRAPH, said: str = GENERATIVE) -> bytes:
    output = OutputConfig.model_validate({"uri": "/out", "format": form, "metadata": metadata})
    image, marks = decode_marked(data, "photo", SOURCE, output.metadata == "keep")
    return encode(image, output, make_labels(marks, output.metadata, said))


def kept_colours(form: str) -> None:
    data, seen = result_of(form), decode(PHOTOGRAPH, "photo", SOURCE)
    assert decode(data, "result", SOURCE).size == seen.size == (48, 64)
    raw = np.asarray(Image.open(io.BytesIO(PHOTOGRAPH)).convert("RGB"))
    moved = np.abs(np.asarray(seen).astype(int) - np.rot90(raw, 3)).mean()
    assert moved > 2, "the pixels were brought from Display P3 to sRGB"
    if form == "png":
        assert decode(data, "result", SOURCE).tobytes() == seen.tobytes()


def tagged(form: str) -> None:
    profile = Image.open(io.BytesIO(result_of(form))).info["icc_profile"]
    assert profile == SRGB
    assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip() == "sRGB"


def upright(form: str) -> None:
    for metadata in ("keep", "rights"):
        data = result_of(form, metadata)
        assert "Orientation" not in read_exif(data) and "Orientation" not in read_xmp(data)
        assert Image.open(io.BytesIO(data)).size == (48, 64)


def kept_dpi(form: str) -> None:
    assert read_dpi(result_of(form)) == (150, 300), "turned with the picture"
    assert read_dpi(result_of(form, "keep")) == (150, 300)
    assert read_dpi(result_of(form, "none")) is None


def kept_rights(form: str) -> None:
    for metadata in ("keep", "rights"):
        exif, xmp = (read(result_of(form, metadata)) for read in (read_exif, read_xmp))
        assert (exif["Copyright"], exif["Artist"]) == (COPYRIGHT, ARTIST)
        assert exif["ImageDescription"] == DESCRIPTION
        assert xmp["rights"].endswith(COPYRIGHT)
        assert (xmp["creator"], xmp["Credit"], xmp["description"]) == (ARTIST, CREDIT, DESCRIPTION)
    none = result_of(form, "none")
    assert read_exif(none) == {} and read_xmp(none).keys() == {"DigitalSourceType"}


def camera_and_place(form: str) -> None:
    exif = read_exif(result_of(form, "keep"))
    assert (exif["Make"], exif["DateTime"], exif["ISOSpeedRatings"]) == ("Kamera", "2024:05:06 07:08:09", 200)
    assert exif["GPS"][1] == "N" and exif["ColorSpace"] == 1
    assert not exif.keys() & {"ExifImageWidth", "MakerNote"}
    xmp = read_xmp(result_of(form, "keep"))
    assert xmp["subject"] == "mug" and xmp["Rating"] == "4"
    assert not xmp.keys() & {"PixelXDimension", "Version"}
    rights = result_of(form)
    assert not read_exif(rights).keys() & {"Make", "DateTime", "ISOSpeedRatings", "GPS"}
    assert not read_xmp(rights).keys() & {"subject", "Rating"}


def maker_note(form: str) -> None:
    for metadata in ("keep", "rights", "none"):
        data = result_of(form, metadata)
        assert "MakerNote" not in read_exif(data) and b"secretsecret" not in data


def marked(form: str) -> None:
    for metadata in ("keep", "rights", "none"):
        assert read_xmp(result_of(form, metadata))["DigitalSourceType"] == VOCABULARY + GENERATIVE


def fine_colour(form: str) -> None:
    output = {"uri": "/out", "format": form}
    image = Image.new("RGB", (32, 32), "red")

    def sampling(**more: object) -> int:
        data = encode(image, OutputConfig.model_validate(output | more))
        return JpegImagePlugin.get_sampling(Image.open(io.BytesIO(data)))

    if form != "jpeg":
        stripes = Image.fromarray(np.tile(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8), (8, 16, 1)))
        sharp = encode(stripes, OutputConfig.model_validate(output | {"quality": 100}))
        assert decode(sharp, "stripes", SOURCE).tobytes() == stripes.tobytes()
    else:
        assert [sampling(), sampling(quality=89), sampling(subsampling="4:2:2")] == [0, 2, 1]
        assert sampling(subsampling="4:2:0", quality=95) == 2


ROWS = {
    "ICC profile (Display P3)": kept_colours,
    "colour space of the result": tagged,
    "EXIF orientation": upright,
    "resolution (dpi)": kept_dpi,
    "copyright, artist, credit, description": kept_rights,
    "camera, date, GPS, keywords, rating": camera_and_place,
    "the camera maker's note": maker_note,
    "IPTC DigitalSourceType": marked,
    "resolution of colour": fine_colour,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("row", ROWS)
def test_row(row: str, form: str) -> None:
    ROWS[row](form)


def test_the_table_has_these_rows() -> None:
    text = (ROOT / "docs" / "provenance.md").read_text()
    (table,) = re.findall(r"\| of the source \|.*?\n\n", text, re.DOTALL)
    listed = [line.split("|")[1].strip() for line in table.strip().splitlines()[2:]]
    assert listed == list(ROWS)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_arguments_give_the_same_bytes(form: str) -> None:
    for metadata in ("keep", "rights", "none"):
        assert result_of(form, metadata) == result_of(form, metadata)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("metadata", ["keep", "rights"])
def test_a_result_of_a_result_says_the_same(form: str, metadata: str) -> None:
    once = result_of(form, metadata)
    again = result_of(form, metadata, once)
    assert read_exif(again) == read_exif(once) and read_xmp(again) == read_xmp(once)
    assert read_dpi(again) == read_dpi(once)
    if form == "png":
        assert again == once
