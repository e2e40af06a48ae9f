"""What is read of sources, whatever they hold."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from mira_batch.config.edit import InputConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.source_type import GENERATIVE, VOCABULARY
from mira_batch.marks import Marks, Rights, label_png, make_labels, read_marks
from mira_batch.storage.images import decode, decode_marked
from tests.support.pictures import chunk, corners, encoded, png
from tests.support.sources import COPYRIGHT, read_xmp, rich_jpeg, xmp_of

SOURCE = InputConfig(manifest="/data/manifest.jsonl")


def marks_of(data: bytes, keep: bool = False) -> Marks:
    return decode_marked(data, "pic", SOURCE, keep)[1]


def with_xmp(packet: bytes) -> Marks:
    return marks_of(insert(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))


def insert(kind: bytes, data: bytes) -> bytes:
    """A PNG with a chunk more."""
    plain = encoded(corners(), "PNG")
    return plain[:33] + chunk(kind, data) + plain[33:]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_a_plain_image_says_nothing(form: str) -> None:
    found = marks_of(encoded(corners(), form))
    assert found.rights == Rights() and not found.has_c2pa and found.source_type == ""
    assert found.depth == 8
    assert found.dpi in (None, (96.0, 96.0)), "a BMP always says one"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_rights_are_read_in_every_form(form: str) -> None:
    options = {"tiffinfo": {700: xmp_of()}} if form == "TIFF" else {"xmp": xmp_of()}
    options |= {"dpi": (300, 300)}
    if form == "PNG":
        data = insert(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp_of())
    else:
        data = encoded(corners(), form, **options)
    found = marks_of(data)
    assert (found.rights.copyright, found.source_type) == (COPYRIGHT, "digitalCapture")
    if form in ("JPEG", "TIFF"):
        assert found.dpi == (300, 300)


def test_xmp_goes_before_iptc_and_iptc_before_exif() -> None:
    exif = Image.Exif()
    exif[33432], exif[315], exif[270] = "notice of EXIF", "artist of EXIF", "words of EXIF"
    block = b"".join(
        b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(text)) + text
        for number, text in ((80, b"A"), (80, b"B"), (116, b"notice of IIM"), (110, "Crédit".encode()))
    )
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(block)) + block + bytes(len(block) % 2)
    plain = encoded(corners(), "JPEG", exif=exif)
    app13 = b"Photoshop 3.0\0" + resource
    data = plain[:2] + b"\xff\xed" + struct.pack(">H", len(app13) + 2) + app13 + plain[2:]
    assert marks_of(data).rights == Rights("notice of IIM", "A; B", "Crédit", "words of EXIF")
    packet = b"http://ns.adobe.com/xap/1.0/\0" + xmp_of()
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(packet) + 2) + packet + data[2:]
    assert marks_of(data).rights.copyright == COPYRIGHT


def test_16_bits_are_said() -> None:
    deep = png(2, 1, 16, 2, [struct.pack(">6H", *range(0, 60_000, 10_000))])
    assert marks_of(deep).depth == 16
    gray = encoded(Image.fromarray(np.array([[0, 65535]], np.uint16)), "TIFF")
    assert marks_of(gray).depth == 16
    assert marks_of(encoded(corners("1"), "PNG")).depth == 1


def test_a_signed_manifest_is_found_in_every_form() -> None:
    box = b"\0\0\0\x40jumb\0\0\0\x20jumdc2pa" + VOCABULARY.encode() + b"trainedAlgorithmicMedia"
    webp = encoded(corners(), "WEBP")
    part = b"C2PA" + struct.pack("<I", len(box)) + box + bytes(len(box) % 2)
    webp = b"RIFF" + struct.pack("<I", len(webp) - 8 + len(part)) + webp[8:] + part
    jpeg, segment = encoded(corners(), "JPEG"), b"JP\0\1\0\0\0\1" + box
    jpeg = jpeg[:2] + b"\xff\xeb" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]
    uuid = b"uuid" + bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + box
    avif = encoded(corners(), "AVIF") + struct.pack(">I", len(uuid) + 4) + uuid
    for data in (insert(b"caBX", box), webp, jpeg, avif):
        found = marks_of(data)
        assert (found.has_c2pa, found.source_type) == (True, "trainedAlgorithmicMedia")
    elsewhere = xmp_of().replace(b" tiff:", b' xmlns:d="http://purl.org/dc/terms/" d:provenance="x:y" tiff:')
    assert with_xmp(elsewhere).has_c2pa and not with_xmp(xmp_of()).has_c2pa


@pytest.mark.parametrize("value", [0, 1e9, float("nan")])
def test_a_resolution_that_is_none_is_left_out(value: float) -> None:
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = value, value, 2
    try:
        data = encoded(corners(), "WEBP", exif=exif)
    except (OverflowError, ValueError):
        return
    assert marks_of(data).dpi is None


def test_centimetres_are_inches() -> None:
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = 118.11, 118.11, 3
    assert marks_of(encoded(corners(), "WEBP", exif=exif)).dpi == (300, 300)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_resolution_is_turned_with_the_picture(form: str) -> None:
    exif = Image.Exif()
    exif[274], exif[282], exif[283], exif[296] = 6, 300.0, 150.0, 2
    options = {} if form == "WEBP" else {"dpi": (300, 150)}
    assert marks_of(encoded(corners(), form, exif=exif, **options)).dpi == (150, 300)


def test_letters_beyond_ascii_are_kept_in_exif() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.HostComputer] = "Ren##s"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.CameraOwnerName] = "Ren##"
    source = encoded(corners(), "JPEG", exif=exif).replace(b"Ren##", "René".encode())
    labels = make_labels(marks_of(source, keep=True), "keep", "")
    kept = Image.Exif()
    kept.load(labels.exif)
    found = kept[ExifTags.Base.HostComputer], kept.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.CameraOwnerName]
    assert [text.encode("latin-1").decode() for text in found] == ["Renés", "René"]


def test_xml_that_grows_or_is_none_says_nothing() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "' + b"x" * 99 + b'">]>' + xmp_of().replace(b"Bild/Agentur", b"&b;")
    for packet in (bomb, b"", b"<a", xmp_of()[:-40], b"\xff\xfe" + "<x/>".encode("utf-16-le"), b"<a>" * 9999):
        assert with_xmp(packet).rights == Rights()
    assert with_xmp(xmp_of() + b" " * (1 << 20)).rights == Rights()


def test_text_that_no_xml_can_hold_is_written_without_it() -> None:
    exif = Image.Exif()
    exif[33432] = "a\x01\x02b" + "\u202e" + "c" * 5000
    marks = marks_of(encoded(corners(), "JPEG", exif=exif))
    labelled = label_png(encoded(corners(), "PNG"), make_labels(marks, "rights", ""))
    assert read_xmp(labelled)["rights"].startswith("ab") and len(read_xmp(labelled)["rights"]) <= 2000


def test_what_does_not_fit_is_left_out_but_for_the_rights() -> None:
    long = xmp_of().replace(b'xmp:Rating="4"', b'xmp:Rating="' + b"4" * 70_000 + b'"')
    marks = with_xmp_kept(long)
    labels = make_labels(marks, "keep", GENERATIVE)
    assert len(labels.xmp) < 65_000 and COPYRIGHT.replace("&", "&amp;").encode() in labels.xmp


def test_what_can_be_read_and_not_written_is_left_out_but_for_the_rights() -> None:
    deep = xmp_of().replace(b"<dc:subject>", b"<dc:subject>" + b"<a>" * 30_000 + b"</a>" * 30_000)
    marks = with_xmp_kept(deep)
    assert marks.rights.copyright == COPYRIGHT and marks.xmp
    labels = make_labels(marks, "keep", GENERATIVE)
    assert COPYRIGHT.replace("&", "&amp;").encode() in labels.xmp and len(labels.xmp) < 2_000
    odd = make_labels(replace(marks, exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), "keep", GENERATIVE)
    assert COPYRIGHT.encode() in odd.exif


def with_xmp_kept(packet: bytes) -> Marks:
    return marks_of(insert(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet), keep=True)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 600), st.binary(max_size=40), st.booleans())
def test_damaged_labels_never_fail_an_image(place: int, junk: bytes, keep: bool) -> None:
    whole = rich_jpeg(size=(16, 8))
    data = whole[: place + 2] + junk + whole[place + 2 + len(junk) :]
    try:
        seen = decode(data, "pic", SOURCE)
    except RecordError:
        return
    pixels, marks = decode_marked(data, "pic", SOURCE, keep)
    assert pixels.tobytes() == seen.tobytes()
    labels = make_labels(marks, "keep" if keep else "rights", GENERATIVE)
    written = Image.open(io.BytesIO(label_png(encoded(pixels, "PNG"), labels)))
    written.load()
    assert read_xmp(label_png(encoded(pixels, "PNG"), labels))["DigitalSourceType"] == VOCABULARY + GENERATIVE


def test_reading_changes_nothing() -> None:
    image = Image.open(io.BytesIO(rich_jpeg()))
    image.load()
    before = dict(image.info), image.tobytes()
    read_marks(image, rich_jpeg(), keep=True)
    assert (dict(image.info), image.tobytes()) == before
