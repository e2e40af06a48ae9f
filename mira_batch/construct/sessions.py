"""Sessions: an image, and what was done to it turn by turn; in one form, wherever they came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from mira_batch.config.construct import (
    AnySource,
    ComplexEditConfig,
    ConstructConfig,
    ImgEditConfig,
    MagicBrushConfig,
    NhrEditConfig,
    PicoBananaConfig,
    RunsConfig,
    SessionsConfig,
)
from mira_batch.construct.demonstration import Picture as Kept
from mira_batch.construct.pictures import Unusable, keep_exact
from mira_batch.construct.readers import complex_edit, imgedit, magicbrush, nhr_edit, own, pico_banana
from mira_batch.construct.readers.found import Found, Left
from mira_batch.construct.stages import Counts, PartWriter, Unit
from mira_batch.storage.published import BOUNDS
from mira_batch.storage.schema import IMAGE, add_features

SESSIONS = add_features(
    pa.schema(
        [
            ("session_id", pa.string()),  # of the data set's own, after its name: "MagicBrush/1234"
            ("dataset", pa.string()),
            ("licence", pa.string()),  # null where nobody said
            (
                "chain",
                pa.bool_(),
            ),  # each turn goes on from the image of the one before; else all from the original
            ("independent", pa.bool_()),  # its owner says that its edits can be made in any order
            (
                "complex",
                pa.string(),
            ),  # the complex instruction that its owner gives; null where there is none
            ("original", IMAGE),
            ("original_digest", pa.string()),  # of its pixels
            (
                "turns",
                pa.list_(
                    pa.struct(
                        [
                            ("instruction", pa.string()),
                            ("thought", pa.string()),
                            ("image", IMAGE),  # null where there is none
                            ("digest", pa.string()),
                        ]
                    )
                ),
            ),
        ]
    )
)
"""A row of `sessions/`."""
NAMES = {
    "magicbrush": ("MagicBrush", "CC-BY-4.0"),
    "imgedit": ("ImgEdit", None),  # its repository has no licence file
    "nhr-edit": ("NHR-Edit", "Apache-2.0"),
    "complex-edit": ("Complex-Edit", None),
    "pico-banana": ("Pico-Banana-400K", "CC-BY-NC-ND-4.0"),
    "sessions": ("sessions", None),
}
"""Name and licence of each kind of source, where the config says nothing else."""


@dataclass(frozen=True, slots=True)
class Source:
    """Which reader reads a source."""

    config: AnySource
    name: str
    licence: str | None


def describe(config: AnySource) -> Source:
    """A source's name and licence: as the config says, else its owners'."""
    name, licence = NAMES[config.type]
    return Source(config, config.name or name, config.licence or licence)


def read_sessions(source: Source) -> Iterator[Found | Left]:
    """Sessions as their data set has them, and those of it that can't be used, with the reason.

    Raises:
        DataSetError: it is laid out otherwise.
    """
    match source.config:
        case MagicBrushConfig() as config:
            return magicbrush.read(config)
        case ImgEditConfig() as config:
            return imgedit.read(config)
        case NhrEditConfig() as config:
            return nhr_edit.read(config)
        case ComplexEditConfig() as config:
            return complex_edit.read(config)
        case PicoBananaConfig() as config:
            return pico_banana.read(config)
        case SessionsConfig() as config:
            return own.read(config)
        case RunsConfig():
            raise TypeError("runs are read by runs.py")


def gather(unit: Unit, writer: PartWriter, config: ConstructConfig) -> Counts:
    """The sessions of one source in our form.

    Counts: `found`, of which each is one of `sessions` or `dropped.<why>`; `turns` of the former.

    Args:
        unit: a source.
        writer: for rows of `SESSIONS`.
        config: the job's.

    Raises:
        DataSetError: the source is laid out otherwise than it should be.
    """
    source: Source = unit.read
    counts: Counts = Counter()
    for found in read_sessions(source):
        counts["found"] += 1
        if isinstance(found, Left):
            counts[f"dropped.{found.why}"] += 1
            continue
        if not config.merge.min_edits <= len(found.turns) <= config.merge.max_edits:
            counts["dropped.number_of_edits"] += 1
            continue
        try:
            row, size = _make_row(found, source)
        except Unusable:
            counts["dropped.image_unusable"] += 1
            continue
        counts["sessions"] += 1
        counts["turns"] += len(found.turns)
        writer.add("part", row, size)
    return counts


def _make_row(found: Found, source: Source) -> tuple[dict[str, object], int]:
    original = keep_exact(found.image, found.name, BOUNDS)
    turns, size = [], len(original.data)
    for turn in found.turns:
        kept: Kept | None = None
        if turn.image is not None:
            kept = keep_exact(turn.image, found.name, BOUNDS)
            size += len(kept.data)
        turns.append(
            {
                "instruction": turn.instruction,
                "thought": turn.thought or None,
                "image": None if kept is None else {"bytes": kept.data, "path": None},
                "digest": None if kept is None else kept.digest,
            }
        )
    row = {
        "session_id": f"{source.name}/{found.name}",
        "dataset": source.name,
        "licence": found.licence or source.licence,
        "chain": found.chain,
        "independent": found.independent,
        "complex": found.complex,
        "original": {"bytes": original.data, "path": None},
        "original_digest": original.digest,
        "turns": turns,
    }
    return row, size
