"""What exported files are called: as their sources were, or by record id. Pure.

A name is made of untrusted text. Whatever that is, the name stays below the destination, and outside the
folder in which an export keeps its own things.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import quote

from mira_batch.config.base import is_remote

OWN = ".mira-batch"
"""The folder of a destination that is the export's own. Readers of data sets pass over hidden ones."""
ENDINGS = {"png": ("png",), "jpeg": ("jpg", "jpeg", "jpe", "jfif"), "webp": ("webp",)}
"""How files of a format end; the first of each is given where a source's own does not fit."""
_PLACE = re.compile(r"#row_group=\d+&row=\d+$")
_MOST_BYTES = 200
"""Of a name made from a record id; file systems take 255, and a file has a longer one while it is written."""


def name_after_source(source: str, roots: Sequence[str], format: str) -> str | None:
    """The name of a result, by that of its source: same folders, same stem. None: its source has none, since
    it lies within a manifest.

    Args:
        source: location of the source image.
        roots: directories; what the innermost that holds the source is called is left out.
        format: that the result is encoded in: png, jpeg or webp.
    """
    if _PLACE.search(source):
        return None
    path = _drop_root(source, roots)
    parts = [_tame(part) for part in path.split("/") if part not in ("", ".")]
    if not parts:
        return None
    if parts[0] == OWN:
        parts[0] = "%2E" + OWN[1:]
    stem, dot, ending = parts[-1].rpartition(".")
    if not dot or not stem:
        parts[-1] = f"{parts[-1]}.{ENDINGS[format][0]}"
    elif ending.lower() not in ENDINGS[format]:
        parts[-1] = f"{stem}.{ENDINGS[format][0]}"
    return "/".join(parts)


def _drop_root(source: str, roots: Sequence[str]) -> str:
    holding = [root for root in (r.rstrip("/") for r in roots) if source.startswith(f"{root}/")]
    path = source[len(max(holding, key=len)) :] if holding else source
    if is_remote(source):
        if not holding:
            path = path.partition("://")[2].partition("/")[2]
        if source.lower().startswith("http"):
            path = re.split("[?#]", path, maxsplit=1)[0]
    return path


def _tame(part: str) -> str:
    """A part of a path that can't lead out, and that every file system can hold."""
    part = part.replace("\0", "%00")
    return "%2E%2E" if part == ".." else part


def name_after_record(record_id: str, format: str | None) -> str:
    """A name made of a record id alone: no folder, no dot but before the ending.

    Args:
        record_id: any text.
        format: of the image; None: no ending is wanted.
    """
    name = quote(record_id.encode("utf-8", "surrogatepass"), safe=" ()+,=@[]").replace(".", "%2E")
    if len(name) > _MOST_BYTES:
        digest = hashlib.blake2b(record_id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        name = f"{name[: _MOST_BYTES - 17]}-{digest}"
    return name if format is None else f"{name}.{ENDINGS[format][0]}"


def find_format(source: str, own: str) -> str:
    """The format of a source by its ending; `own`, that of the result, where it is none that is written."""
    ending = source.rpartition(".")[2].lower()
    return next((format for format, endings in ENDINGS.items() if ending in endings), own)
