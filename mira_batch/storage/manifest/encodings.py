"""What a text manifest is written in, and its text, of which no byte is changed unseen."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import IO, Any

from mira_batch.core.errors import ManifestError

UTF8 = "utf-8"
MOST_TEXT = 32_000_000
"""Characters of one row, in JSON bytes: what is longer is a reject, and is never in memory as a whole."""
_HEAD = 4_096
_BOMS = (
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ZEROS: dict[tuple[int, ...], str] = {
    (0, 1, 0, 1): "utf-16-be",
    (1, 0, 1, 0): "utf-16-le",
    (0, 0, 0, 1): "utf-32-be",
    (1, 0, 0, 0): "utf-32-le",
}
"""Which of a text's first four bytes are 0 (written 0) in encodings of two and four bytes a character."""
_OTHER_FILES = (
    (b"PAR1", "is a Parquet file; give it a name that ends in .parquet"),
    (b"\x1f\x8b", "is compressed by gzip; give it a name that ends in .gz"),
    (b"PK\x03\x04", "is a zip or Excel file; unpack it, or save it as CSV (UTF-8)"),
)
_ESCAPE = "mira_batch_escape"


def _escape_bytes(error: UnicodeError) -> tuple[str, int]:
    """As `surrogateescape`, which leaves out bytes below 0x80: UTF-16 cut short may end in one."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_ESCAPE, _escape_bytes)


def begin_text(file: IO[bytes], path: str, default: str) -> tuple[io.BufferedReader, str]:
    """Tell a text's encoding, and pass over its byte-order mark.

    Args:
        file: at its start.
        path: its name, for messages.
        default: the encoding of a text without a byte-order mark.

    Returns:
        The file, where its text begins, and its encoding.

    Raises:
        ManifestError: it is no text, or UTF-16 or UTF-32 without a byte-order mark.
    """
    raw: Any = file
    reader = io.BufferedReader(raw, 1 << 16)
    head = reader.peek(_HEAD)
    for magic, what in _OTHER_FILES:
        if head.startswith(magic):
            raise ManifestError(f"{path}: {what}")
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            reader.read(len(mark))
            return reader, encoding
    wide = _ZEROS.get(tuple(int(byte != 0) for byte in head[:4]))
    if wide and default == UTF8:
        raise ManifestError(
            f"{path}: looks like {wide.upper()} without a byte-order mark; set input.encoding: {wide}, or "
            "save it as UTF-8"
        )
    return reader, default


def find_mark(head: bytes) -> str | None:
    """The encoding that a text's first four bytes say; None where they hold no byte-order mark."""
    return next((encoding for mark, encoding in _BOMS if head.startswith(mark)), None)


def decode(reader: io.BufferedReader, encoding: str, newline: str) -> io.TextIOWrapper:
    """A text as characters; each byte that is not of its encoding becomes a lone surrogate.

    Args:
        reader: as `begin_text` gives it.
        encoding: so, too.
        newline: as `open` takes it.
    """
    return io.TextIOWrapper(reader, encoding=encoding, errors=_ESCAPE, newline=newline)


def read_lines(reader: io.BufferedReader | io.BytesIO, encoding: str) -> Iterator[bytes | None]:
    r"""The lines of a text, which end in `\n`, in UTF-8; None for one of more than `MOST_TEXT`.

    Where bytes are not of the text's encoding, neither is the line valid UTF-8.

    Args:
        reader: at the start of a line.
        encoding: of the text.
    """
    if encoding == UTF8:
        yield from _read_bounded(reader)
        return
    with decode(reader, encoding, "\n") as text:  # pyright: ignore[reportArgumentType]
        for line in _read_bounded(text):
            yield None if line is None else line.encode(UTF8, "surrogatepass")


def _read_bounded(file: Any) -> Iterator[Any]:
    while line := file.readline(MOST_TEXT + 1):
        if len(line) > MOST_TEXT:
            pass_over_line(file, line, "\n" if isinstance(line, str) else b"\n")
            yield None
        else:
            yield line


def pass_over_line(file: Any, line: Any, ends: Any) -> None:
    """Read on to the end of a line.

    Args:
        file: the text or bytes.
        line: what `readline` gave of the line.
        ends: what a line may end in, as `endswith` takes it.
    """
    while line and not line.endswith(ends):
        line = file.readline(1 << 20)
