"""Sources that say much beside their pixels; and what files say, read by other means than ours."""

from __future__ import annotations

import io
from typing import Any
from xml.etree import ElementTree

from PIL import ExifTags, Image

from mira_batch.core.source_type import VOCABULARY
from tests.support.pictures import encoded, matrix_profile

COPYRIGHT, ARTIST, CREDIT = "© 2024 Ärger & Söhne", "Zoë <Q>", "Bild/Agentur"
DESCRIPTION = "A mug\non a table"
XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"
 photoshop:Credit="Bild/Agentur" tiff:Orientation="6" exif:PixelXDimension="640" xmp:Rating="4">
<dc:rights><rdf:Alt><rdf:li xml:lang="de">anders</rdf:li>
<rdf:li xml:lang="x-default">© 2024 Ärger &amp; Söhne</rdf:li></rdf:Alt></dc:rights>
<dc:creator><rdf:Seq><rdf:li>Zoë &lt;Q&gt;</rdf:li></rdf:Seq></dc:creator>
<dc:subject><rdf:Bag><rdf:li>mug</rdf:li></rdf:Bag></dc:subject>
<Iptc4xmpExt:DigitalSourceType>{}</Iptc4xmpExt:DigitalSourceType>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def xmp_of(source_type: str = "digitalCapture") -> bytes:
    return XMP.format(VOCABULARY + source_type).encode()


def exif_of() -> bytes:
    exif = Image.Exif()
    base, ifd = ExifTags.Base, ExifTags.IFD
    exif[base.Copyright], exif[base.Artist] = "EXIF's own", "EXIF's artist"
    exif[base.ImageDescription] = DESCRIPTION.encode()
    exif[base.Make], exif[base.Orientation], exif[base.DateTime] = "Kamera", 6, "2024:05:06 07:08:09"
    exif.get_ifd(ifd.Exif).update({base.MakerNote: b"secret" * 9, base.ISOSpeedRatings: 200})
    exif.get_ifd(ifd.Exif).update({base.ExifImageWidth: 640, base.ColorSpace: 65535})
    exif.get_ifd(ifd.GPSInfo).update({1: "N", 2: (47.0, 22.0, 33.5)})
    return exif.tobytes()


def rich_jpeg(source_type: str = "digitalCapture", size: tuple[int, int] = (64, 48)) -> bytes:
    """EXIF with GPS and a maker's note, lying on its side; Display P3; XMP; 300 dpi across and 150 down."""
    image = Image.effect_noise(size, 40).convert("RGB")
    image.paste((200, 60, 40), (0, 0, size[0] // 2, size[1]))
    return encoded(
        image,
        "JPEG",
        quality=95,
        dpi=(300, 150),
        exif=exif_of(),
        xmp=xmp_of(source_type),
        icc_profile=matrix_profile(2.2, wide=True),
    )


def read_xmp(data: bytes) -> dict[str, str]:
    """Local name of each property -> its text; empty where there is no packet."""
    packet = Image.open(io.BytesIO(data)).info.get("xmp", b"")
    packet = packet.encode() if isinstance(packet, str) else packet
    if not packet:
        return {}
    found: dict[str, str] = {}
    for description in ElementTree.fromstring(packet.decode())[0]:
        found |= {name.rpartition("}")[2]: value for name, value in description.attrib.items()}
        for prop in description:
            found[prop.tag.rpartition("}")[2]] = "".join(prop.itertext()).strip()
    found.pop("about", None)
    return found


def read_exif(data: bytes) -> dict[str, Any]:
    """Name of each tag -> its value, those of the shot among them; `GPS` where there is a place."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        exif = image.getexif()
        below = set(map(int, ExifTags.IFD))
        found = {ExifTags.TAGS[tag]: value for tag, value in exif.items() if tag not in below}
        found |= {ExifTags.TAGS[tag]: value for tag, value in exif.get_ifd(ExifTags.IFD.Exif).items()}
        if place := exif.get_ifd(ExifTags.IFD.GPSInfo):
            found["GPS"] = place
    return {name: fix_text(value) if isinstance(value, str) else value for name, value in found.items()}


def fix_text(value: str) -> str:
    """Pillow reads EXIF's text as Latin-1; what is written today is UTF-8."""
    return value.encode("latin-1").decode()


def read_dpi(data: bytes) -> tuple[int, int] | None:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        if "dpi" in image.info:
            return tuple(round(value) for value in image.info["dpi"])
        exif = image.getexif()
        if ExifTags.Base.XResolution not in exif:
            return None
        assert exif[ExifTags.Base.ResolutionUnit] == 2
        return round(exif[ExifTags.Base.XResolution]), round(exif[ExifTags.Base.YResolution])
