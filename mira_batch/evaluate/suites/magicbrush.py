"""MagicBrush (OSU-NLP-Group/MagicBrush): sessions of one to three turns, each with the image that people
accepted.

As published: the test archive with edit_sessions.json, images/<session>/ and local_descriptions.json; or, of
the other splits, Hugging Face rows of img_id, turn_index, source_img, instruction, target_img. Records are
called as the owners' script calls files: <session>_1, <session>_inde_<turn> where each turn begins from the
accepted image (single-turn), <session>_iter_<turn> where it goes on from our own result (multi-turn).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mira_batch.evaluate.benchmarks.aggregate import BenchmarkError
from mira_batch.evaluate.benchmarks.magicbrush import MULTI, SINGLE
from mira_batch.evaluate.suites.edits import Edits, find_edits
from mira_batch.evaluate.suites.items import Item, Picture, Reader, find_below
from mira_batch.evaluate.suites.published import Row, open_rows, read_json
from mira_batch.evaluate.suites.suite import Labels, Request, Suite

_NAME, _TITLE = "magicbrush", "MagicBrush"
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


def name_single(session: str, turn: int) -> str:
    """The record of a turn that begins from the accepted image."""
    return f"{session}_1" if turn == 1 else f"{session}_inde_{turn}"


def name_multi(session: str, turn: int) -> str:
    """The record of a turn that goes on from our own result. Of the first turn both are the same."""
    return f"{session}_1" if turn == 1 else f"{session}_iter_{turn}"


def read_magicbrush(request: Request, reader: Reader, labels: Labels, left_out: list[str]) -> Iterator[Item]:
    """The turns of single-turn; or, after a run of a turn, the next turn of multi-turn."""
    turns = _count_turns(list(_list_turns(request, reader)), reader)
    if reader.problems.found:  # which images belong to which turn isn't known then
        return
    if request.after:
        yield from _read_next(request, turns, left_out)
        return
    for turn, source, target in _read_pictures(request, turns, reader):
        if source and target:
            about = {"setting": SINGLE, **_describe(turn)}
            if turn.caption is not None:
                about["caption"] = turn.caption
            name = name_single(turn.session, turn.number)
            yield Item(name, turn.instruction, {"image": source, "target": target}, about)


def _describe(turn: Turn) -> dict[str, Any]:
    return {"session": turn.session, "turn": turn.number, "turns": turn.turns}


def _list_turns(request: Request, reader: Reader) -> Iterator[Turn]:
    if (request.data / _SESSIONS).is_file():
        yield from _list_sessions(request.data, reader)
        return
    for place, row in open_rows(request.data, request.split).read(_LIGHT):
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
        raise BenchmarkError(f"{data}: {_SESSIONS} or {_CAPTIONS} holds no object by session; fetch it again")
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


def _read_pictures(
    request: Request, turns: Sequence[Turn], reader: Reader
) -> Iterator[tuple[Turn, Picture | None, Picture | None]]:
    rows: Iterator[Row | None] = iter([None] * len(turns))
    if turns and turns[0].paths is None:
        rows = open_rows(request.data, request.split).read(_IMAGES)
    for turn, row in zip(turns, rows, strict=True):
        if row is not None:
            source, target = (reader.take_picture(turn.place, row[1][name], name) for name in _IMAGES)
        else:
            assert turn.paths is not None
            source, target = (reader.read_picture(turn.place, path) for path in turn.paths)
        yield turn, source, target


def _read_next(request: Request, turns: Sequence[Turn], left_out: list[str]) -> Iterator[Item]:
    """The turn after that of some runs, which begins from their results."""
    names = name_all([_row(turn) for turn in turns])
    edits = find_edits(
        request.after, {n: t["instruction"] for n, t in names.items()}, str(request.data), request.storage
    )
    there = [*edits.found, *edits.failed]
    done = max((names[name]["turn"] for name in there if names[name]["setting"] == MULTI), default=1)
    following = {turn.session: turn for turn in turns if turn.number == done + 1}
    if not following:
        raise BenchmarkError(f"{', '.join(request.after)}: of the last turn; there is none after it")
    before = {name_multi(session, done): turn for session, turn in following.items()}
    for name, data in edits.read():
        if turn := before.pop(name, None):
            record = name_multi(turn.session, turn.number)
            picture = Picture.of(data)
            yield Item(record, turn.instruction, {"image": picture}, {"setting": MULTI, **_describe(turn)})
    if before:
        reasons = Counter(edits.explain(name) for name in before)
        words = ", ".join(f"{why} {count:,}" for why, count in reasons.items())
        left_out.append(f"sessions without a result of turn {done}: {words}")


def _row(turn: Turn) -> dict[str, Any]:
    return {**_describe(turn), "setting": SINGLE, "instruction": turn.instruction}


def name_all(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Every record that there may be, by its name: the turns of single-turn, and those of multi-turn with the
    same targets.

    Args:
        rows: of single-turn, each with session, turn, turns and instruction.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        found[name_single(row["session"], row["turn"])] = row
        if row["turn"] > 1:
            found[name_multi(row["session"], row["turn"])] = {**row, "setting": MULTI}
    return found


def is_last(row: Mapping[str, Any]) -> bool:
    """Whether a record is the end of its session's chain: what multi-turn is measured by."""
    return row["turn"] == row["turns"] and (row["setting"] == MULTI or row["turns"] == 1)


def has_multi(edits: Edits, names: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether runs of later turns of chains are among them."""
    return any(names[name]["setting"] == MULTI for name in (*edits.found, *edits.failed))


def _name_files(row: Mapping[str, Any], model: str) -> dict[str, str]:
    name = name_single if row["setting"] == SINGLE else name_multi
    return {"": f"{row['session']}/{name(row['session'], row['turn'])}.png"}


def _count(rows: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    found = {"sessions": len({row["session"] for row in rows}), "turns": len(rows)}
    captions = sum("caption" in row for row in rows)
    return found | ({"captions": captions} if captions else {})


MAGICBRUSH = Suite(_NAME, _TITLE, frozenset({"split", "after"}), read_magicbrush, _count, files=_name_files)
