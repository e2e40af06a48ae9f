"""XMP: what is taken from a source's, and what is written into a result's.

A packet is foreign XML. One that declares entities or is too long is none; what it says is text, no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from mira_batch.core.source_type import VOCABULARY, name_source_type
from mira_batch.marks.marks import Rights, clean_words

_MOST_BYTES = 1 << 20
"""Longer packets are not looked at: real ones are below a hundred thousand."""
_META, _RDF = "adobe:ns:meta/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC, _PHOTOSHOP = "http://purl.org/dc/elements/1.1/", "http://ns.adobe.com/photoshop/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_TIFF, _EXIF, _XMP = (
    "http://ns.adobe.com/tiff/1.0/",
    "http://ns.adobe.com/exif/1.0/",
    "http://ns.adobe.com/xap/1.0/",
)
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_SOURCE_TYPE = f"{{{_IPTC}}}DigitalSourceType"
_RIGHTS = {
    "copyright": (f"{{{_DC}}}rights", "Alt"),
    "artist": (f"{{{_DC}}}creator", "Seq"),
    "credit": (f"{{{_PHOTOSHOP}}}Credit", ""),
    "description": (f"{{{_DC}}}description", "Alt"),
}
"""Property and form of each of `Rights`."""
_PROVENANCE = "{http://purl.org/dc/terms/}provenance"
"""Names a signed manifest that lies elsewhere."""
_LEFT_OUT = re.compile(
    rf"\{{(?:{re.escape(_TIFF)}\}}(?!Make$|Model$|Software$|Artist$|Copyright$)"
    rf"|{re.escape(_EXIF)}\}}(?:PixelXDimension|PixelYDimension|ColorSpace|MakerNote)$"
    rf"|{re.escape(_XMP)}\}}Thumbnails$|{re.escape(_PHOTOSHOP)}\}}(?:ICCProfile|ColorMode)$"
    r"|http://ns\.adobe\.com/(?:xmp/note/|hdr-gain-map/1\.0/)"
    r"|http://ns\.google\.com/photos/1\.0/|http://purl\.org/dc/terms/\}provenance$)"
)
"""Properties that describe the file that they came from: its size, way up, colours, pictures in it; and the
signed manifest that a new file can't have."""
for _prefix, _space in {
    "x": _META, "rdf": _RDF, "dc": _DC, "photoshop": _PHOTOSHOP, "Iptc4xmpExt": _IPTC, "tiff": _TIFF,
    "exif": _EXIF, "xmp": _XMP,
}.items():  # fmt: skip
    ElementTree.register_namespace(_prefix, _space)


def parse_xmp(packet: bytes) -> ElementTree.Element | None:
    """The RDF of a packet; None where it can't be read.

    Args:
        packet: as it stands in a file.
    """
    if len(packet) > _MOST_BYTES:
        return None
    try:
        text = packet.decode("utf-8-sig").strip("\0")
        if "<!" in text:  # a declaration, which XMP doesn't have: entities that grow come in one
            return None
        root = ElementTree.fromstring(re.sub(r"<\?.*?\?>", "", text, flags=re.DOTALL).strip("\ufeff \t\r\n"))
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError, RecursionError):
        return None
    return root if root.tag == f"{{{_RDF}}}RDF" else root.find(f"{{{_RDF}}}RDF")


def read_rights(rdf: ElementTree.Element) -> Rights:
    """Whose an image is, by its XMP.

    Args:
        rdf: what `parse_xmp` gave.
    """
    return Rights(**{name: _find(rdf, prop) for name, (prop, _) in _RIGHTS.items()})


def read_source_type(rdf: ElementTree.Element) -> str:
    """The name of the digital source type; empty where there is none.

    Args:
        rdf: what `parse_xmp` gave.
    """
    return name_source_type(_find(rdf, _SOURCE_TYPE))


def names_c2pa(rdf: ElementTree.Element) -> bool:
    """Whether a signed manifest is named that lies elsewhere.

    Args:
        rdf: what `parse_xmp` gave.
    """
    return bool(_find(rdf, _PROVENANCE))


def write_xmp(rights: Rights, source_type: str, carried: bytes = b"") -> bytes:
    """A result's packet; empty where there is nothing to say.

    Args:
        rights: whose it is.
        source_type: name of its digital source type; empty leaves what `carried` says.
        carried: a source's packet, of which all is kept that is as true of a result.
    """
    rdf = parse_xmp(carried) if carried else None
    if rdf is None:
        rdf = ElementTree.Element(f"{{{_RDF}}}RDF")
    for description in rdf:
        _strip(description)
    target = rdf.find(f"{{{_RDF}}}Description")
    if target is None:
        target = ElementTree.SubElement(rdf, f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""})
    for name, (prop, form) in _RIGHTS.items():
        if (text := getattr(rights, name)) and not _find(rdf, prop):
            _add(target, prop, form, text)
    if source_type:
        for description in rdf:
            _remove(description, _SOURCE_TYPE)
        ElementTree.SubElement(target, _SOURCE_TYPE).text = VOCABULARY + source_type
    if not carried and not len(target):
        return b""
    meta = ElementTree.Element(f"{{{_META}}}xmpmeta")
    meta.append(rdf)
    body = ElementTree.tostring(meta, encoding="unicode")
    head = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    return f'{head}\n{body}\n<?xpacket end="w"?>'.encode()


def _values(rdf: ElementTree.Element, prop: str) -> Iterator[str]:
    for description in rdf:
        if prop in description.attrib:
            yield description.attrib[prop]
        for found in description.findall(prop):
            items = sorted(found.iter(f"{{{_RDF}}}li"), key=lambda item: item.get(_LANG) != "x-default")
            if len(items) and found.find(f"{{{_RDF}}}Alt") is not None:
                items = items[:1]
            yield "; ".join(item.text or "" for item in items)
            yield found.get(f"{{{_RDF}}}resource") or found.text or ""


def _find(rdf: ElementTree.Element, prop: str) -> str:
    """The first value of a property that says anything."""
    return next((text for value in _values(rdf, prop) if (text := clean_words(value))), "")


def _add(description: ElementTree.Element, prop: str, form: str, text: str) -> None:
    inner = ElementTree.SubElement(description, prop)
    if form:
        item = ElementTree.SubElement(ElementTree.SubElement(inner, f"{{{_RDF}}}{form}"), f"{{{_RDF}}}li")
        if form == "Alt":
            item.set(_LANG, "x-default")
        inner = item
    inner.text = text


def _strip(description: ElementTree.Element) -> None:
    for name in [*description.attrib, *(inner.tag for inner in description)]:
        if _LEFT_OUT.match(name):
            _remove(description, name)


def _remove(description: ElementTree.Element, prop: str) -> None:
    description.attrib.pop(prop, None)
    for inner in description.findall(prop):
        description.remove(inner)
