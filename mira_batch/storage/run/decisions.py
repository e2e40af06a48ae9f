"""What people decide about results: reads their files, checks them against a run, and keeps them beside it.

A file of decisions is JSON lines, made by the review page or by hand, and comes from outside: its size, its
encoding and every line are checked, and what is kept is written anew from what was understood. Files lie in
`<run>/decisions/`, numbered in the order they came and never changed, so that of two decisions about a result
the later one is known without trusting anybody's clock.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError, describe
from mira_batch.storage.run.results import results_dataset
from mira_batch.storage.stores import Store, read_errors

APPROVE, REJECT = "approve", "reject"
REASONS = ("colour", "edge", "texture", "geometry", "background", "other")
"""What may be wrong with a result, in the order of the keys 1 to 6 of the review page."""
FOLDER = "decisions"
MOST_BYTES = 64 * 2**20
"""Of a file of decisions: some 200,000 of them."""
_MOST_LINE = 64 * 2**10
_MOST_TEXT = {"record_id": 4_096, "work_id": 128, "result_digest": 128, "note": 4_000, "by": 200, "at": 64}
_NEEDED = ("record_id", "result_digest", "decision")
_MOST_NAMED = 5
_FILE = re.compile(r"decisions/(\d{5,})\.jsonl")
_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Decision:
    """What one person said of one result."""

    record_id: str
    work_id: str
    """Empty where the file doesn't say it."""
    result_digest: str
    """Of the pixels that the person saw."""
    decision: str
    """approve or reject."""
    reason: str
    """One of `REASONS`; empty of what is approved, or where none was given."""
    note: str
    by: str
    """Whose it is."""
    at: str
    """When, by that person's clock."""


@dataclass(frozen=True, slots=True)
class Dispute:
    """A result about which people disagree."""

    record_id: str
    said: Mapping[str, str]
    """The last decision of each, by person, in the order they were made."""
    stands: str
    """The decision that holds: the last of all."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of a file of decisions."""

    file: str
    """Where it is kept."""
    known: bool
    """Whether the very same decisions had been kept before."""
    approved: int
    """Results approved by this file, of those that are still there."""
    rejected: int
    stale: int
    """Decisions about a result that is not, or no longer, that of its record; they count for nothing."""
    all_approved: int
    """Results approved by all files of the run, the last decision about each counting."""
    all_rejected: int
    disputes: Sequence[Dispute]


def read_lines(data: bytes, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a file of decisions with their numbers, each with a record, a digest and a verdict.

    Args:
        data: the file.
        where: its name, for messages.

    Raises:
        ConfigError: a line is no decision; it names the line.
    """
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{where}:{number}"
        if len(line) > _MOST_LINE:
            raise ConfigError(f"{place}: is no decision: the line has {len(line):,} bytes")
        try:
            row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            if not isinstance(row, dict):
                raise ValueError("it is no JSON object")
            record, digest, verdict = (row[key] for key in _NEEDED)
            if not isinstance(record, str) or not isinstance(digest, str) or verdict not in (APPROVE, REJECT):
                raise ValueError("record_id and result_digest are texts, decision is approve or reject")
        except UnicodeDecodeError:
            raise ConfigError(f"{place}: is not in UTF-8") from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            words = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ConfigError(f"{place}: is no decision: {words}") from None
        yield number, row


def parse_decisions(data: bytes, where: str) -> list[tuple[int, Decision]]:
    """All of a file of decisions, with the numbers of their lines; nothing in it is taken on trust.

    Args:
        data: the file.
        where: its name, for messages.

    Raises:
        ConfigError: it is too large, it holds nothing, or a line is no decision; it names the line.
    """
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{where}: has more than {MOST_BYTES // 2**20} MiB; cut it into several files")
    found = []
    for number, row in read_lines(data, where):
        try:
            found.append((number, _check_row(row)))
        except ValueError as error:
            raise ConfigError(f"{where}:{number}: is no decision: {error}") from None
    if not found:
        raise ConfigError(f"{where}: holds no decision")
    return found


def _check_row(row: Mapping[str, Any]) -> Decision:
    texts = {name: "" if row.get(name) is None else row[name] for name in (*_MOST_TEXT, "reason")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"{name} is no text")
        if len(text) > _MOST_TEXT.get(name, 32):
            raise ValueError(f"{name} has {len(text):,} characters, more than {_MOST_TEXT.get(name, 32):,}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name} holds half a character") from None
    if texts["reason"] not in ("", *REASONS):
        raise ValueError(f"reason is one of {', '.join(REASONS)}")
    if texts["reason"] and row["decision"] == APPROVE:
        raise ValueError("what is approved has no reason against it")
    if texts["at"] and not _AT.fullmatch(texts["at"]):
        raise ValueError("at is no time as in 2026-11-26T09:30:00Z")
    return Decision(decision=row["decision"], **texts)


def keep_decisions(store: Store, storage: StorageConfig, data: bytes, where: str) -> Kept:
    """Check a file of decisions against the results of a run, and keep it beside them.

    Args:
        store: the run's directory.
        storage: how it is reached.
        data: the file.
        where: its name, for messages.

    Raises:
        ConfigError: a line is no decision, or names a record that the run has not; nothing is kept.
        StoreError: the run's results can't be read, or the store refuses.
    """
    lines = parse_decisions(data, where)
    results = _find_results(store, storage, {decision.record_id for _, decision in lines})
    unknown = [(number, d.record_id) for number, d in lines if d.record_id not in results]
    if unknown:
        named = "; ".join(f"line {number}: {record[:200]!r}" for number, record in unknown[:_MOST_NAMED])
        raise ConfigError(
            f"{where}: {len(unknown):,} decisions are about records that the run has not: {named}"
        )
    earlier = read_kept(store)
    said = [decision for _, decision in lines]
    key, known = _create(store, said, [decisions for _, decisions in earlier])
    everything = [decision for _, decisions in earlier for decision in decisions] + ([] if known else said)
    results |= _find_results(store, storage, {d.record_id for d in everything} - results.keys())
    mine, all_of_them = _take_last(said, results), _take_last(everything, results)
    return Kept(
        file=store.locate(key),
        known=known,
        approved=sum(d.decision == APPROVE for d in mine.values()),
        rejected=sum(d.decision == REJECT for d in mine.values()),
        stale=sum(d.result_digest != results[d.record_id] for d in said),
        all_approved=sum(d.decision == APPROVE for d in all_of_them.values()),
        all_rejected=sum(d.decision == REJECT for d in all_of_them.values()),
        disputes=_find_disputes(everything, results),
    )


def read_kept(store: Store) -> list[tuple[str, list[Decision]]]:
    """The files of decisions kept beside a run, by key, in the order they came.

    Args:
        store: the run's directory.

    Raises:
        StoreError: the store can't be read.
        ConfigError: a file was changed by somebody, and is no file of decisions now.
    """
    keys = list_kept(store)
    files = [
        (key, store.read(key, lambda data, key=key: parse_decisions(data, store.locate(key)))) for key in keys
    ]
    return [(key, [decision for _, decision in lines]) for key, lines in files if lines]


def list_kept(store: Store, prefix: str = "") -> list[str]:
    """Keys of the files of decisions kept beside a run, in the order they came.

    Args:
        store: the run's directory, or one that it is in.
        prefix: the run's directory within it, with a `/` at its end.

    Raises:
        StoreError: the store can't be read.
    """
    found = [entry.key for entry in store.list(f"{prefix}{FOLDER}")]
    numbers = {key: int(match[1]) for key in found if (match := _FILE.fullmatch(key.removeprefix(prefix)))}
    return sorted(numbers, key=lambda key: numbers[key])


def _create(store: Store, said: Sequence[Decision], kept: Sequence[Sequence[Decision]]) -> tuple[str, bool]:
    """Keep decisions under the next number; where the very same ones are kept already, they are not again.
    Those that don't say when they were made may have been made anew after others: of them only the last file
    is the same."""
    keys, dated = list_kept(store), all(decision.at for decision in said)
    for place, (key, decisions) in enumerate(zip(keys, kept, strict=False), start=1):
        if list(decisions) == list(said) and (dated or place == len(kept)):
            return key, True
    data = "".join(json.dumps(asdict(decision), ensure_ascii=False) + "\n" for decision in said).encode()
    number = max((int(key[len(FOLDER) + 1 : -6]) for key in keys), default=0)
    while True:  # another `decide` may take a number between our look and our try
        number += 1
        if store.create(key := f"{FOLDER}/{number:05d}.jsonl", data):
            return key, False


def _find_results(store: Store, storage: StorageConfig, records: set[str]) -> dict[str, str | None]:
    """The digest of each record's result, of those that the run has."""
    if not records:
        return {}
    names = pa.array(sorted(records), pa.string())
    try:
        table = results_dataset(store.uri, storage).to_table(
            columns=["record_id", "result_digest"], filter=pc.field("record_id").isin(names)
        )
    except (pa.ArrowException, *read_errors()) as error:
        raise StoreError(f"{store.uri}/results: can't be read: {describe(error)[:300]}") from error
    return dict(zip(table["record_id"].to_pylist(), table["result_digest"].to_pylist(), strict=True))


def _take_last(said: Sequence[Decision], results: Mapping[str, str | None]) -> dict[str, Decision]:
    """The decision that holds about each result: of several the last. Stale ones are left out."""
    return {d.record_id: d for d in said if d.result_digest == results.get(d.record_id)}


def _find_disputes(said: Sequence[Decision], results: Mapping[str, str | None]) -> list[Dispute]:
    by_record: dict[str, dict[str, str]] = defaultdict(dict)
    for decision in said:
        if decision.result_digest == results.get(decision.record_id):
            people = by_record[decision.record_id]
            people.pop(decision.by, None)  # so that the last of all comes last
            people[decision.by] = decision.decision
    return [
        Dispute(record, people, list(people.values())[-1])
        for record, people in sorted(by_record.items())
        if len(set(people.values())) > 1
    ]
