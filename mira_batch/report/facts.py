"""What the facts of an inspected catalogue add up to, as figures and as a table in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from rich.table import Table
from rich.text import Text

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError, describe
from mira_batch.core.text import show_text
from mira_batch.core.types import Status
from mira_batch.storage.run.results import results_dataset

_COUNTED = ("format", "mode", "error_kind")
_MEASURED = ("bytes", "pixels", "sharpness", "luminance")
_LIGHT = ("status", "has_alpha", "exif_orientation", "icc_profile", "white_border", "pixel_digest")
_WHITE = 0.9
"""Share of near-white border pixels from which an image stands on white."""


def summarise_facts(run: str, storage: StorageConfig) -> dict[str, Any]:
    """One pass over the small columns of all facts.

    Returns:
        `images` and `readable` (counts); `formats`, `modes`, `refused` (counts by name); `bytes`, `pixels`,
        `sharpness`, `luminance` (least, median and greatest, of the images that have them); and counts of
        images that are `transparent`, `turned` (EXIF orientation), `with_profile`, `on_white`, `repeated`
        (the same pixels as an image before).

    Raises:
        StoreError: the results can't be read.
    """
    counts = {name: Counter[str]() for name in _COUNTED}
    values: dict[str, list[Any]] = {name: [] for name in _MEASURED}
    flags = Counter[str]()
    digests: list[Any] = []
    columns = [*_COUNTED, *_MEASURED, *_LIGHT]
    for batch in _read_batches(run, storage, columns):
        flags["images"] += batch.num_rows
        for name, counter in counts.items():
            for entry in batch[name].drop_null().value_counts().to_pylist():
                counter[entry["values"]] += entry["counts"]
        for name, found in values.items():
            found.append(batch[name].drop_null().to_numpy(zero_copy_only=False))
        flags["readable"] += _count(batch["status"], lambda v: v == Status.ok)
        flags["transparent"] += _count(batch["has_alpha"], bool)
        flags["turned"] += _count(batch["exif_orientation"], lambda v: v > 1)
        flags["with_profile"] += _count(batch["icc_profile"], lambda _: True)
        flags["on_white"] += _count(batch["white_border"], lambda v: v >= _WHITE)
        # Half of each digest, as a number: of ten million images 80 MB.
        digests.append(
            np.array([int(d[:16], 16) for d in batch["pixel_digest"].drop_null().to_pylist()], np.uint64)
        )
    known = np.concatenate(digests) if digests else np.zeros(0, np.uint64)
    flags["repeated"] = len(known) - len(np.unique(known))
    return {
        "images": flags["images"],
        "readable": flags["readable"],
        "formats": dict(counts["format"].most_common()),
        "modes": dict(counts["mode"].most_common()),
        "refused": dict(counts["error_kind"].most_common()),
        **{name: _spread(np.concatenate(found) if found else np.zeros(0)) for name, found in values.items()},
        **{n: flags[n] for n in ("transparent", "turned", "with_profile", "on_white", "repeated")},
    }


def _read_batches(run: str, storage: StorageConfig, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The boundary of what lies in the results."""
    try:
        yield from results_dataset(run, storage).to_batches(columns=list(columns), cache_metadata=False)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{run}/results: can't be read: {describe(error)[:300]}") from error


def facts_table(facts: Mapping[str, Any]) -> Table:
    """The same for people."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column(overflow="fold")
    table.add_row("formats", _list(facts["formats"]))
    table.add_row("modes", _list(facts["modes"]))
    if facts["refused"]:
        table.add_row("refused", _list(facts["refused"]) + Text("  (error_message says why)"))
    for name, unit, scale in (
        ("bytes", "kB", 1e3),
        ("pixels", "MP", 1e6),
        ("sharpness", "", 1),
        ("luminance", "", 1),
    ):
        if (spread := facts[name]) is not None:
            least, median, most = (f"{value / scale:,.4g}" for value in spread)
            table.add_row(name, f"{least} to {most} {unit}, half of them below {median}".replace("  ", " "))
    flags = {
        "transparent": "with transparency",
        "turned": "turned by EXIF",
        "with_profile": "with an ICC profile",
        "on_white": "on a white border",
        "repeated": "with the pixels of an image before",
    }
    table.add_row("of them", ", ".join(f"{facts[name]:,} {words}" for name, words in flags.items()))
    return table


def _count(column: pa.Array, test: Any) -> int:
    return sum(bool(test(value)) for value in column.drop_null().to_pylist())


def _spread(values: Any) -> tuple[float, float, float] | None:
    """Least, median and greatest."""
    return (float(values.min()), float(np.median(values)), float(values.max())) if len(values) else None


def _list(counts: Mapping[str, int]) -> Text:
    return Text(show_text(", ".join(f"{name} {count:,}" for name, count in counts.items())) or "–")
