"""The merge stage: the turns of a session become complex instructions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from mira_batch.config.construct import ConstructConfig
from mira_batch.construct.scratch import Seen
from mira_batch.construct.stages import Counts, PartWriter, Unit, read_part
from mira_batch.construct.words import are_independent, list_orders, merge, normalise
from mira_batch.core.identity import content_hash
from mira_batch.storage.stores import Store

INSTRUCTIONS = pa.schema(
    [
        ("instruction_id", pa.string()),  # digest of the original's pixels and the normalised instruction
        ("session_id", pa.string()),
        ("session_row", pa.int32()),  # of the session, in its file
        ("order", pa.list_(pa.int32())),  # of which turns, from 0, in the order in which they are named
        ("edits", pa.list_(pa.string())),  # the atomic ones, in that order
        ("instruction", pa.string()),
        ("by", pa.string()),  # who worded it: merge, owner, grammar/1, or the identity of a model
        ("merged", pa.string()),  # of a paraphrase, what it paraphrases; else the instruction itself
    ]
)
"""A row of `merged/` and of `paraphrased/`."""
SMALL = ("session_id", "chain", "independent", "complex", "original_digest", "turns")
OWNER, MERGE = "owner", "merge"


class Instructions:
    """Writes instructions, but for near-duplicates about one image."""

    def __init__(self, store: Store, seen: Seen) -> None:
        """
        Args:
            store: the output.
            seen: the ids of all instructions so far.
        """
        self._store, self._seen = store, seen

    def take_done(self, files: Sequence[str]) -> None:
        """Remember what an earlier call wrote."""
        for file in files:
            self._seen.add_all(read_part(self._store, file, ["instruction_id"])["instruction_id"].to_pylist())

    def add(self, writer: PartWriter, row: Mapping[str, Any], digest: str, counts: Counts) -> None:
        """Write an instruction, unless one like it is there.

        Args:
            writer: for rows of `INSTRUCTIONS`.
            row: without its id.
            digest: of the original's pixels.
            counts: `instructions`, or `dropped.duplicate`.
        """
        name = content_hash(digest, normalise(row["instruction"]))
        if not self._seen.add(name):
            counts["dropped.duplicate"] += 1
            return
        counts["instructions"] += 1
        writer.add("part", {**row, "instruction_id": name})


def merge_sessions(
    unit: Unit, writer: PartWriter, store: Store, config: ConstructConfig, instructions: Instructions
) -> Counts:
    """The complex instructions of the sessions of one file.

    Counts: `merged`, of which each is one of `instructions` or `dropped.duplicate`; and
    `sessions_in_one_order`, which were not permuted since nothing says that their edits are independent.

    Args:
        unit: a file of `sessions/`.
        writer: for the instructions.
        store: the output.
        config: the job's.
        instructions: drops duplicates.
    """
    counts: Counts = Counter()
    for number, session in enumerate(read_light(store, unit.read)):
        edits = [turn["instruction"] for turn in session["turns"]]
        for order in _choose_orders(session, edits, config, counts):
            counts["merged"] += 1
            named = [edits[index] for index in order]
            given = session["complex"] if order == tuple(range(len(edits))) else None
            text = given or merge(named)
            row = {
                "session_id": session["session_id"],
                "session_row": number,
                "order": list(order),
                "edits": named,
                "instruction": text,
                "by": OWNER if given else MERGE,
                "merged": text,
            }
            instructions.add(writer, row, session["original_digest"], counts)
    return counts


def _choose_orders(
    session: Mapping[str, Any], edits: Sequence[str], config: ConstructConfig, counts: Counts
) -> Iterator[tuple[int, ...]]:
    """The orders of its edits; of edits that all begin at the original also each by itself."""
    by_text = config.merge.independent == "text" and are_independent(edits)
    independent = len(edits) > 1 and (bool(session["independent"]) or by_text)
    if not session["chain"]:
        yield from ((index,) for index in range(len(edits)))
        if not independent:
            counts["sessions_not_merged"] += len(edits) > 1
            return
        if len(edits) == 1:
            return
    if len(edits) > 1 and not independent and config.merge.orders > 1:
        counts["sessions_in_one_order"] += 1
    yield from list_orders(len(edits), config.merge.orders if independent else 1)


def read_light(store: Store, file: str) -> Iterator[dict[str, Any]]:
    """Sessions of a file without their images, in order.

    Args:
        store: the output.
        file: of `sessions/`.
    """
    columns = [*SMALL[:-1], "turns.list.element.instruction"]
    for batch in read_part(store, file, columns).to_batches(max_chunksize=1_000):
        yield from batch.to_pylist()
