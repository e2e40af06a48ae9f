"""Says what bytes are that are no image which is decoded here, and what to do about it."""

from __future__ import annotations

import re

from mira_batch.core.text import clean_text

_CONVERT = "convert it to PNG or JPEG first"
_FRAME = "export the frame that is meant as PNG or JPEG"
_EXPORT = "export it as PNG or JPEG"
_DEVELOP = "develop it to PNG or JPEG first"
_UNPACK = "unpack it, and name the image in it"
_ANSWER = "a server gave a page in place of the image: open the URI, and check its path and your access"
_AGAIN = "copy or export it again"
_BRANDS = {
    b"heic heix heim heis hevc hevx mif1 msf1": (
        "HEIC, the format of phones",
        f"pip install 'mira-batch[heic]', or {_CONVERT}",
    ),
    b"avif avis": ("AVIF, but damaged", _AGAIN),
    b"crx": ("a camera's raw file (CR3)", _DEVELOP),
    b"isom iso2 iso4 iso5 iso6 mp41 mp42 M4V avc1 dash qt 3gp4 3gp5 3g2a": (
        "a video",
        _FRAME,
    ),
}
"""By the brand of an ISO base media file."""
_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "a pointer of Git LFS, not the file itself",
        "run `git lfs pull` where it lies",
    ),
    (b"%PDF-", "a PDF", "export the page as PNG or JPEG"),
    (b"%!PS", "PostScript (EPS)", _EXPORT),
    (b"\xc5\xd0\xd3\xc6", "PostScript (EPS)", _EXPORT),
    (b"8BPS", "a Photoshop document (PSD)", _EXPORT),
    (b"\xff\x0a", "JPEG XL", _CONVERT),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL", _CONVERT),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000", _CONVERT),
    (b"\xff\x4f\xff\x51", "JPEG 2000", _CONVERT),
    (b"II*\x00\x10\x00\x00\x00CR", "a camera's raw file (CR2)", _DEVELOP),
    (b"FUJIFILMCCD-RAW", "a camera's raw file (RAF)", _DEVELOP),
    (b"IIRO", "a camera's raw file (ORF)", _DEVELOP),
    (b"IIRS", "a camera's raw file (ORF)", _DEVELOP),
    (b"IIU\x00", "a camera's raw file (RW2)", _DEVELOP),
    (b"\x00\x00\x01\x00", "an icon (ICO)", _CONVERT),
    (b"v/1\x01", "OpenEXR", _CONVERT),
    (b"#?RADIANCE", "Radiance HDR", _CONVERT),
    (b"DDS ", "a DirectDraw texture (DDS)", _CONVERT),
    (b"\x1aE\xdf\xa3", "a video (WebM or Matroska)", _FRAME),
    (b"gimp xcf", "a GIMP document (XCF)", _EXPORT),
    (b"PK\x03\x04", "a ZIP archive or an office document", _UNPACK),
    (b"\x1f\x8b", "packed by gzip", "unpack it first"),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"PAR1", "a Parquet file", "check the column that names the image"),
)
_KNOWN: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)
_HTML = re.compile(rb"<(!doctype html|html|head|body|script|meta|title)\b", re.IGNORECASE)
_S3_CODE = re.compile(rb"<Error>.{0,200}?<Code>(\w+)</Code>", re.DOTALL)


def name_content(data: bytes, heic: bool = False) -> tuple[str, str] | None:
    """What bytes are, and what to do about it; None where nothing is known of them.

    Args:
        data: the contents of a file that is no image, or a damaged one.
        heic: whether HEIC is decoded here, so that such a file is damaged.
    """
    if not data:
        return "empty (0 bytes)", "copy or upload it again"
    if not data.strip(b"\0"):
        return f"{len(data):,} zero bytes", "it was never written to its end: copy or upload it again"
    for start, what, cure in _STARTS:
        if data.startswith(start):
            return what, cure
    if data[4:8] == b"ftyp":
        return _name_brand(data[8:12], heic)
    if data[:4] == b"RIFF":
        if data[8:12] == b"WEBP":
            return "WEBP, but damaged", "copy or export it again"
        return "a video (AVI)" if data[8:11] == b"AVI" else "a sound", "name an image instead"
    for start, what in _KNOWN:
        if data.startswith(start):
            how = "but damaged, or of a kind that isn't read"
            return f"{what} by its first bytes, {how}", "copy or export it again, with 8 bits a channel"
    return _name_text(data)


def is_page(data: bytes) -> bool:
    """Whether bytes are what a server says in place of a file: HTML, XML or JSON."""
    found = _name_text(data)
    return found is not None and found[1] == _ANSWER


def _name_brand(brand: bytes, heic: bool) -> tuple[str, str]:
    for brands, found in _BRANDS.items():
        if brand.strip() in brands.split():
            return ("HEIC, but damaged", _AGAIN) if heic and b"heic" in brands else found
    return f"a media file of type {brand.decode('latin-1')!r}", _CONVERT


def _name_text(data: bytes) -> tuple[str, str] | None:
    text = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if b"<svg" in text.lower() and text.startswith(b"<"):
        return "SVG, a drawing without pixels", "render it to PNG first"
    if _HTML.search(text) and text.startswith(b"<"):
        return f"HTML ({_quote(text)})", _ANSWER
    if code := _S3_CODE.search(text):
        return f"an error of the store ({code[1].decode()})", "check the URI and your access"
    if text.startswith(b"<"):
        return f"XML ({_quote(text)})", _ANSWER
    if text.startswith((b"{", b"[")) and _is_text(text):
        return f"JSON ({_quote(text)})", _ANSWER
    if text.startswith(b"data:image/"):
        return "a data: URI written as text", "decode its base64 first"
    if _is_text(text):
        return f"text ({_quote(text)})", "check the path"
    return None


def _is_text(data: bytes) -> bool:
    try:
        text = data[:512].decode(errors="strict" if len(data) <= 512 else "ignore")
    except UnicodeDecodeError:
        return False
    return bool(text) and all(char.isprintable() or char in "\t\r\n" for char in text)


def _quote(data: bytes) -> str:
    words = " ".join(data[:300].decode(errors="replace").split())
    return repr(clean_text(words[:60]))
