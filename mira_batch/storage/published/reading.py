"""Values of a data set as they are read: images and instructions checked, and each fault with its place and
what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mira_batch.config.shared import ManifestConfig
from mira_batch.core.errors import DataSetError, RecordError
from mira_batch.core.identity import content_hash
from mira_batch.storage.images import decode, open_image
from mira_batch.storage.stores import shorten_error

BOUNDS = ManifestConfig(manifest="/")
"""What an image may be, by the edit job's own defaults: one that is refused here would fail there."""
_MOST_PROBLEMS = 20
"""After so many the reading ends."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_ENDINGS = {"JPEG": "jpg", "TIFF": "tif"}


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as its owners encoded it, known to decode."""

    data: bytes
    name: str
    """Of its file: the digest of its bytes, so that an image that many items share is one file."""

    @classmethod
    def of(cls, data: bytes) -> Picture:
        """An image that is known to decode."""
        form = open_image(data).format or "PNG"
        return cls(data, f"{content_hash(data)}.{_ENDINGS.get(form, form.lower())}")


class Problems:
    """What is wrong with a data set. Nothing of it is passed over: any of them ends `prepare`."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, place: str, what: str) -> None:
        """Note a fault.

        Args:
            place: where it is.
            what: what is wrong, and what to do.

        Raises:
            DataSetError: there are enough of them.
        """
        self.found.append(f"{place}: {what}")
        if len(self.found) >= _MOST_PROBLEMS:
            self.refuse(" at least")

    def refuse(self, least: str = "") -> None:
        """Refuse the data set, if anything is wrong with it.

        Raises:
            DataSetError: something is; it lists what.
        """
        if self.found:
            count = f"{len(self.found)} fault{'s' * (len(self.found) != 1)}"
            lines = "\n  ".join(self.found)
            raise DataSetError(f"the data set has{least} {count}, and nothing was prepared:\n  {lines}")


@dataclass(slots=True)
class Reader:
    """Takes values out of rows, and notes what is wrong with them."""

    problems: Problems
    _seen: dict[str, str] = field(default_factory=dict)
    _pictures: dict[str, str] = field(default_factory=dict)
    """Digest of the bytes to the name of those that were looked at."""

    def take_text(self, place: str, row: Mapping[str, Any], name: str) -> str | None:
        """A text that isn't empty; None where it is none.

        Args:
            place: of the row.
            row: the values, by column.
            name: of the column.
        """
        value = row.get(name)
        if not isinstance(value, str) or not value.strip():
            self.problems.add(place, f"{name} is {_show(value)}; a text is needed")
            return None
        return value

    def take_name(self, place: str, row: Mapping[str, Any], name: str) -> str | None:
        """A key after which a file is called; None where none can be. Arguments as of `take_text`: `place`,
        `row` and `name`."""
        value = row.get(name)
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not _NAME.fullmatch(text):
            self.problems.add(
                place,
                f"{name} is {_show(value)}, which is no name of a file; letters, digits, . _ - make one",
            )
            return None
        return text

    def take_choice(
        self, place: str, row: Mapping[str, Any], name: str, known: tuple[str, ...]
    ) -> str | None:
        """One of several words; None where it is none of them.

        Args:
            place, row, name: where the word is.
            known: the words.
        """
        value = row.get(name)
        if value not in known:
            self.problems.add(place, f"{name} is {_show(value)}, none of {', '.join(known)}")
            return None
        return str(value)

    def take_picture(self, place: str, value: Any, name: str) -> Picture | None:
        """An image of a Hugging Face column: {bytes, path}, or its bytes.

        Args:
            place: of the row.
            value: of the column.
            name: of the column.
        """
        data = value.get("bytes") if isinstance(value, Mapping) else value
        if not isinstance(data, bytes) or not data:
            self.problems.add(
                place,
                f"{name} has no image in it; save the data set with its images embedded",
            )
            return None
        return self._check(f"{place}, {name}", data)

    def read_picture(self, place: str, path: Path) -> Picture | None:
        """An image of a file of its own.

        Args:
            place: where the file is named.
            path: the file.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            self.problems.add(
                place, f"its image {path} can't be read ({shorten_error(error)}); fetch it again"
            )
            return None
        return self._check(f"{place}, {path}", data)

    def _check(self, place: str, data: bytes) -> Picture | None:
        digest = content_hash(data)
        if digest not in self._pictures:
            try:
                decode(data, place, BOUNDS)
            except RecordError as error:
                self.problems.add(place, str(error).removeprefix(f"{place}: "))
                return None
            self._pictures[digest] = Picture.of(data).name
        return Picture(data, self._pictures[digest])

    def is_new(self, place: str, key: str, what: str) -> bool:
        """Whether this is the first item of a key; a second one is a fault.

        Args:
            place: where it is.
            key: the item's.
            what: the key in words.
        """
        first = self._seen.setdefault(key, place)
        if first != place:
            self.problems.add(place, f"{what} was there before, at {first}; take one of both out")
        return first == place


def find_below(root: Path, name: str) -> Path | None:
    """A file that a data set names, below its root; None where its name leads outside."""
    if not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name.replace("\\", "/")).parts:
        return None
    path = root / name
    return path if path.resolve().is_relative_to(root.resolve()) else None


def _show(value: Any) -> str:
    return "missing" if value is None else f"{value!r:.80}"
