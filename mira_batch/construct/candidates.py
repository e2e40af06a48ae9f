"""Sessions with their instructions: as a manifest for the edit job, and as demonstrations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from mira_batch.config.construct import ConstructConfig
from mira_batch.construct.demonstration import Deed, Demonstration, Origin, Picture, relabel
from mira_batch.construct.samples import HINDSIGHT, TRAJECTORY
from mira_batch.construct.stages import Counts, PartWriter, Unit, read_part
from mira_batch.construct.words import merge, refers_back
from mira_batch.storage.schema import IMAGE, add_features
from mira_batch.storage.stores import Store

CANDIDATES = add_features(
    pa.schema(
        [
            ("record_id", pa.string()),  # the instruction's id
            ("image", IMAGE),
            ("instruction", pa.string()),
            # Carried along as metadata; a source of type runs takes data set and licence from it:
            ("dataset", pa.string()),
            ("licence", pa.string()),
            ("session_id", pa.string()),
            ("edits", pa.list_(pa.string())),  # the atomic ones
            ("worded_by", pa.string()),
        ]
    )
)
"""A row of `candidates/`: a manifest that the edit job takes as it is."""
Pair = tuple[dict[str, Any], dict[str, Any]]
"""An instruction and its session."""


def read_pairs(store: Store, files: tuple[str, str]) -> Iterator[Pair]:
    """Instructions with their sessions, images and all, a session in memory at a time.

    Args:
        store: the output.
        files: of `paraphrased/`, and of the sessions that it is about.
    """
    instructions = iter(read_part(store, files[0]).to_pylist())
    row = next(instructions, None)
    number = 0
    for batch in read_part(store, files[1]).to_batches(max_chunksize=1):
        for session in batch.to_pylist():
            while row is not None and row["session_row"] == number:
                yield row, session
                row = next(instructions, None)
            number += 1


def list_candidates(unit: Unit, writer: PartWriter, store: Store) -> Counts:
    """The manifest's rows of one file of instructions. Counts: `candidates`.

    Args:
        unit: the files, as `read_pairs` takes them.
        writer: for rows of `CANDIDATES`.
        store: the output.
    """
    counts: Counts = Counter()
    for row, session in read_pairs(store, unit.read):
        counts["candidates"] += 1
        image = session["original"]
        made = {
            "record_id": row["instruction_id"],
            "image": image,
            "instruction": row["instruction"],
            "dataset": session["dataset"],
            "licence": session["licence"],
            "session_id": session["session_id"],
            "edits": row["edits"],
            "worded_by": row["by"],
        }
        writer.add("manifest", made, len(image["bytes"]))
    return counts


def demonstrate(
    store: Store, files: tuple[str, str], config: ConstructConfig, counts: Counts
) -> Iterator[tuple[Demonstration, str]]:
    """Sessions that have an image of each turn, as demonstrations of each of their instructions; with their
    first turns as such of what these ask for, where hindsight is wanted.

    Args:
        store: the output.
        files: as `read_pairs` takes them.
        config: the job's.
        counts: `instructions`, of which each is one of `session_demonstrations`, or `left.no_images` and
            `left.no_chain`.
    """
    last = None
    for row, session in read_pairs(store, files):
        counts["instructions"] += 1
        turns = session["turns"]
        named = row["order"]
        if any(turns[index]["image"] is None for index in named):
            counts["left.no_images"] += 1
            continue
        if not session["chain"] and len(named) > 1:  # its images show one edit each
            counts["left.no_chain"] += 1
            continue
        counts["session_demonstrations"] += 1
        # Edits are shown in the order in which they were made, whatever the order they are named in.
        demonstration = _make(row, session, sorted(named), config)
        yield demonstration, TRAJECTORY
        if config.samples.hindsight != "never" and session["session_id"] != last and session["chain"]:
            for count in range(1, min(len(turns), _find_idle(demonstration))):
                path = list(range(count))
                goal = merge([turns[index]["instruction"] for index in path])
                yield relabel(demonstration, path, goal), HINDSIGHT
        last = session["session_id"]


def _make(
    row: Mapping[str, Any], session: Mapping[str, Any], turns: list[int], config: ConstructConfig
) -> Demonstration:
    original = Picture(session["original"]["bytes"], session["original_digest"])
    before, deeds = original.digest, []
    for index in turns:
        turn = session["turns"][index]
        back = config.samples.refers_back == "drop" and index > 0 and session["chain"]
        deeds.append(
            Deed(
                turn["instruction"],
                before,
                turn["digest"],
                Picture(turn["image"]["bytes"], turn["digest"]),
                turn["thought"] or "",
                refers_back=back and refers_back(turn["instruction"]),
            )
        )
        before = turn["digest"]
    origin = Origin(session["dataset"], session["licence"], session["session_id"])
    found = Demonstration(origin, row["instruction"], original, tuple(deeds), stopped=True)
    return replace(found, stopped=_find_idle(found) > len(deeds))


def _find_idle(demonstration: Demonstration) -> int:
    """The turn, from 1, that left the image as it was; one more than there are where none did. From there on
    no image shows all that was asked for, so nowhere is it time to stop."""
    deeds = demonstration.deeds
    return next((n for n, deed in enumerate(deeds, 1) if deed.before == deed.after), len(deeds) + 1)
