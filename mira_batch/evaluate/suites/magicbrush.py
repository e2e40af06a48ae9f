"""MagicBrush (OSU-NLP-Group/MagicBrush): sessions of one to three turns, each with the image that people
accepted.

As published: the test archive with edit_sessions.json, images/<session>/ and local_descriptions.json; or, of
the other splits, Hugging Face rows of img_id, turn_index, source_img, instruction, target_img. Records are
called as the owners' script calls files: <session>_1, <session>_inde_<turn> where each turn begins from the
accepted image (single-turn), <session>_iter_<turn> where it goes on from our own result (multi-turn).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mira_batch.evaluate.benchmarks.aggregate import BenchmarkError
from mira_batch.evaluate.benchmarks.magicbrush import MULTI, SINGLE
from mira_batch.evaluate.suites.edits import Edits, find_edits
from mira_batch.evaluate.suites.items import Item
from mira_batch.evaluate.suites.suite import Labels, Request, Suite
from mira_batch.storage.published import Picture, Reader, Turn, list_turns, read_pictures

_NAME, _TITLE = "magicbrush", "MagicBrush"


def name_single(session: str, turn: int) -> str:
    """The record of a turn that begins from the accepted image."""
    return f"{session}_1" if turn == 1 else f"{session}_inde_{turn}"


def name_multi(session: str, turn: int) -> str:
    """The record of a turn that goes on from our own result. Of the first turn both are the same."""
    return f"{session}_1" if turn == 1 else f"{session}_iter_{turn}"


def read_magicbrush(request: Request, reader: Reader, labels: Labels, left_out: list[str]) -> Iterator[Item]:
    """The turns of single-turn; or, after a run of a turn, the next turn of multi-turn."""
    turns = list_turns(request.data, request.split, reader)
    if reader.problems.found:  # which images belong to which turn isn't known then
        return
    if request.after:
        yield from _read_next(request, turns, left_out)
        return
    for turn, source, target in read_pictures(request.data, request.split, turns, reader):
        if source and target:
            about = {"setting": SINGLE, **_describe(turn)}
            if turn.caption is not None:
                about["caption"] = turn.caption
            name = name_single(turn.session, turn.number)
            yield Item(name, turn.instruction, {"image": source, "target": target}, about)


def _describe(turn: Turn) -> dict[str, Any]:
    return {"session": turn.session, "turn": turn.number, "turns": turn.turns}


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
