"""Writes results where a benchmark's own script looks for them, so that it can be run on them as it is."""

from __future__ import annotations

import io
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mira_batch.config.shared import StorageConfig
from mira_batch.evaluate.benchmarks.aggregate import BenchmarkError, Outcome
from mira_batch.evaluate.benchmarks.magicbrush import SINGLE
from mira_batch.evaluate.suites.candidates import choose_axes, read_scores_of
from mira_batch.evaluate.suites.edits import find_edits
from mira_batch.evaluate.suites.editscore import AXES
from mira_batch.evaluate.suites.evidence import Evidence
from mira_batch.evaluate.suites.magicbrush import MAGICBRUSH, has_multi, name_all
from mira_batch.evaluate.suites.magicbrush_table import find_base
from mira_batch.evaluate.suites.prepared import Prepared, find_prepared
from mira_batch.evaluate.suites.suite import Suite
from mira_batch.storage.images import OWN_RESULTS, decode, open_image
from mira_batch.storage.stores import Store, open_store


@dataclass(frozen=True, slots=True)
class Layout:
    """What was laid out."""

    benchmark: str
    destination: str
    expected: int
    """Results that the benchmark's script looks for."""
    written: int
    """Of them, those that are there now; of these `already` were before."""
    already: int
    missing: Mapping[str, int]
    """The others, by why, in words."""


def lay_out(
    suite: Suite,
    runs: Sequence[str],
    given: str | None,
    destination: str,
    model: str,
    partial: bool,
    storage: StorageConfig,
) -> Layout:
    """Write the results of runs as a benchmark's script reads them. Nothing is overwritten.

    Args:
        suite: the benchmark.
        runs: of its items.
        given: the prepared folder, where the user names it.
        destination: the folder to write to.
        model: what the script is to call what made them.
        partial: whether results may lack.
        storage: how all of it is reached.

    Raises:
        BenchmarkError: results lack, the runs are of no such benchmark, or another file is in the way.
        RunConflict, StoreError: a run can't be read.
    """
    assert suite.files is not None
    prepared, rows = _list_rows(suite, runs, given, storage)
    edits = find_edits(
        runs, {name: row["instruction"] for name, row in rows.items()}, prepared.folder, storage
    )
    if suite is MAGICBRUSH and not has_multi(edits, rows):
        rows = {name: row for name, row in rows.items() if row["setting"] == SINGLE}
    missing = [name for name in rows if name not in edits.found]
    reasons = Counter(edits.explain(name) for name in missing)
    _refuse_missing(missing, reasons, len(rows), partial)
    store, already, written = open_store(destination, storage), 0, 0
    for name, data in edits.read():
        files = suite.files(rows[name], model)
        for column, path in files.items():
            if column:
                _put(store, path, _make_png(prepared.read_image(rows[name][column]), name))
            else:
                already += not _put(store, path, _make_png(data, name))
                written += 1
    return Layout(suite.name, destination, len(rows), written, already, dict(reasons))


def _list_rows(
    suite: Suite, runs: Sequence[str], given: str | None, storage: StorageConfig
) -> tuple[Prepared, Mapping[str, Mapping[str, Any]]]:
    """The prepared benchmark, and all records that its script may look for."""
    if suite is MAGICBRUSH:
        base = find_base(runs, given, storage)
        return base, name_all(list(base.items.values()))
    prepared = find_prepared(runs, suite.name, given, storage)
    return prepared, prepared.items


def _refuse_missing(missing: Sequence[str], reasons: Mapping[str, int], expected: int, partial: bool) -> None:
    if missing and not partial:
        words = ", ".join(f"{why} {count:,}" for why, count in reasons.items())
        raise BenchmarkError(
            f"{len(missing):,} of {expected:,} results are missing ({words}), {missing[0]} the first; the "
            "benchmark's script would take its means of the others. --partial writes those that are there"
        )


def _make_png(data: bytes, name: str) -> bytes:
    """The same image as PNG."""
    if open_image(data).format == "PNG":
        return data
    buffer = io.BytesIO()
    decode(data, name, OWN_RESULTS).save(buffer, "PNG")
    return buffer.getvalue()


def _put(store: Store, path: str, data: bytes) -> bool:
    """Write a file, unless it is there already, just so. Returns whether it was written.

    Raises:
        BenchmarkError: another one is there.
    """
    if store.get(path) == data:
        return False
    if not store.create(path, data):
        raise BenchmarkError(
            f"{store.locate(path)}: is there already, with other content; choose a new folder"
        )
    return True


def lay_out_scores(
    evidence: Evidence, axes: Mapping[str, str], destination: str, partial: bool, storage: StorageConfig
) -> Layout:
    """Write a judge's scores as EditScore's `calculate_statistics.py` reads them: <type>/<dimension>.jsonl.

    Args:
        evidence: scores on EditReward-Bench.
        axes: the judge's axis of a dimension, where the user names one.
        destination: the folder to write to.
        partial: whether scores may lack.
        storage: how it is reached.

    Raises:
        BenchmarkError: scores or axes lack, or another file is in the way.
    """
    chosen, lacking = choose_axes(evidence, AXES, axes)
    if lacking:
        raise BenchmarkError(f"the owners' script needs all dimensions: {'; '.join(lacking)}")
    lines: dict[str, list[str]] = defaultdict(list)
    missing: Counter[str] = Counter()
    for index, label in enumerate(evidence.prepared.labels):
        keys = label["better"], label["worse"]
        found = read_scores_of(evidence, keys, chosen[label["dimension"]])
        if found.outcome is not Outcome.judged:
            missing[str(found.outcome)] += 1
            continue
        line = {"key": keys, "idx": index, "score": found.scores}
        lines[f"{label['task_type']}/{label['dimension']}.jsonl"].append(json.dumps(line) + "\n")
    expected, written = len(evidence.prepared.labels), sum(map(len, lines.values()))
    if missing and not partial:
        words = ", ".join(f"{why} {count:,}" for why, count in missing.items())
        raise BenchmarkError(
            f"{missing.total():,} of {expected:,} pairs have no scores ({words}); --partial writes the others"
        )
    store, already = open_store(destination, storage), 0
    for path, found in lines.items():
        already += 0 if _put(store, path, "".join(found).encode()) else len(found)
    return Layout(
        evidence.prepared.about["benchmark"], destination, expected, written, already, dict(missing)
    )
