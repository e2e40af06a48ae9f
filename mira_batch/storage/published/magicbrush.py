"""MagicBrush's turns, as they lie on disk: in its test archive, or as Hugging Face rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mira_batch.core.errors import DataSetError
from mira_batch.storage.published.reading import Picture, Reader, find_below
from mira_batch.storage.published.tables import Row, open_rows, read_json

_SESSIONS, _CAPTIONS = "edit_sessions.json", "local_descriptions.json"
_LIGHT, _IMAGES = ("img_id", "turn_index", "instruction"), ("source_img", "target_img")


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of a session, without its images."""

    place: str
    session: str
    number: int
    """From 1."""
    instruction: str
    turns: int = 0
    """Of its session."""
    caption: str | None = None
    """Of the accepted image."""
    paths: tuple[Path, Path] | None = None
    """Source and accepted image, where these are files of their own."""


def list_turns(data: Path, split: str | None, reader: Reader) -> list[Turn]:
    """The turns of all sessions, in the data set's order, without their images.

    Args:
        data: the folder of the test archive, or that of the Hugging Face data set.
        split: which, where the latter has several.
        reader: notes what is wrong.

    Raises:
        DataSetError: it is no MagicBrush.
    """
    return _count_turns(list(_read_turns(data, split, reader)), reader)


def _read_turns(data: Path, split: str | None, reader: Reader) -> Iterator[Turn]:
    if (data / _SESSIONS).is_file():
        yield from _list_sessions(data, reader)
        return
    for place, row in open_rows(data, split).read(_LIGHT):
        session, instruction = (
            reader.take_name(place, row, "img_id"),
            reader.take_text(place, row, "instruction"),
        )
        number = row["turn_index"]
        if not isinstance(number, int) or number < 1:
            reader.problems.add(place, f"turn_index is {number!r}; a number from 1 is needed")
        elif session and instruction:
            yield Turn(place, session, number, instruction)


def _list_sessions(data: Path, reader: Reader) -> Iterator[Turn]:
    sessions = read_json(data / _SESSIONS)
    captions = read_json(data / _CAPTIONS) if (data / _CAPTIONS).is_file() else {}
    if not isinstance(sessions, Mapping) or not isinstance(captions, Mapping):
        raise DataSetError(f"{data}: {_SESSIONS} or {_CAPTIONS} holds no object by session; fetch it again")
    for session, entries in sessions.items():
        place = f"{data / _SESSIONS}: {session!r:.80}"
        name = reader.take_name(place, {"img_id": session}, "img_id")
        if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
            reader.problems.add(place, "is no list of turns")
            continue
        for number, entry in enumerate(entries, 1):
            where = f"{place}, turn {number}"
            instruction = reader.take_text(where, entry, "instruction")
            files = [reader.take_text(where, entry, role) for role in ("input", "output")]
            paths = [find_below(data / "images" / str(session), file) for file in files if file]
            if len(paths) < 2 or not name or not instruction:
                continue
            source, target = paths
            if source is None or target is None:
                reader.problems.add(where, "input or output leads out of the session's folder")
                continue
            said = captions.get(session)
            caption = said.get(files[1]) if isinstance(said, Mapping) else None
            caption = caption if isinstance(caption, str) and caption.strip() else None
            yield Turn(where, name, number, instruction, caption=caption, paths=(source, target))


def _count_turns(turns: Sequence[Turn], reader: Reader) -> list[Turn]:
    """The same turns, each with how many its session has, which must be numbered without a gap."""
    numbers: dict[str, list[Turn]] = defaultdict(list)
    for turn in turns:
        if reader.is_new(
            turn.place, f"{turn.session} {turn.number}", f"turn {turn.number} of {turn.session}"
        ):
            numbers[turn.session].append(turn)
    for session, found in numbers.items():
        there = sorted(turn.number for turn in found)
        if there != list(range(1, len(there) + 1)):
            reader.problems.add(
                found[0].place, f"the session {session} has the turns {there}; some lack, fetch it again"
            )
    return [replace(turn, turns=len(numbers[turn.session])) for turn in turns]


def read_pictures(
    data: Path, split: str | None, turns: Sequence[Turn], reader: Reader
) -> Iterator[tuple[Turn, Picture | None, Picture | None]]:
    """Each turn with its source and its accepted image; None where one can't be used, which is noted.

    Args:
        data, split: as `list_turns` takes them.
        turns: of `list_turns`.
        reader: notes what is wrong.
    """
    rows: Iterator[Row | None] = iter([None] * len(turns))
    if turns and turns[0].paths is None:
        rows = open_rows(data, split).read(_IMAGES)
    for turn, row in zip(turns, rows, strict=True):
        if row is not None:
            source, target = (reader.take_picture(turn.place, row[1][name], name) for name in _IMAGES)
        else:
            assert turn.paths is not None
            source, target = (reader.read_picture(turn.place, path) for path in turn.paths)
        yield turn, source, target
