"""An evaluation joined to the run that a page shows: which of its scores are about these very results.

A score belongs to a result where record, pixels, original and instruction are those that were judged. Scores
of anything else are counted, and shown nowhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, RunConflict
from mira_batch.core.identity import content_hash, name_rollout
from mira_batch.core.types import Status
from mira_batch.evaluate.scores import OVERALL, Scores, read_details, read_scores, refuse_pairs
from mira_batch.report.contents import Card, Verdict
from mira_batch.report.data import clip
from mira_batch.report.score_charts import FAILED, JUDGED, NOT, NOTHING, Kept, make_scoring, name_charts
from mira_batch.report.totals import Totals
from mira_batch.storage.run.results import fill_added, tell_unfinished
from mira_batch.storage.stores import Store, open_arrow_filesystem

_COLUMNS = ["record_id", "rollout", "status", "stop_reason", "result_digest", "source_digest", "instruction"]


_WHY_NOT = {
    "": "the evaluation is not about this record",
    "other_pixels": "another result of this record was",
    "asked_otherwise": "this record with another instruction or original was",
}


@dataclass(frozen=True)
class Join:
    """How the results that an evaluation judged fit those of the run; together they are all of them."""

    evaluation: str
    """Its directory."""
    joined: int
    """Results of this run."""
    other_pixels: int
    """Of these records other results."""
    asked_otherwise: int
    """The same pixels, but made from another original or by another instruction."""
    absent: int
    """Of records that this run has not."""

    def describe(self) -> list[str]:
        """What is left out, in words; nothing where all fit."""
        left = (
            (self.other_pixels, "about other pixels than this run's result"),
            (self.asked_otherwise, "about another instruction or original"),
            (self.absent, "about records that this run has not"),
        )
        return [f"{number:,} {words}" for number, words in left if number]


class Scored:
    """One evaluation of a run: holds of each record of the run whether it was judged, and its scores."""

    def __init__(self, scores: Scores, results: Iterable[Mapping[str, Any]], key: str, title: str) -> None:
        """Join an evaluation to a run's results.

        Args:
            scores: of the evaluation.
            results: rows of the run, in its order, with `_COLUMNS`.
            key: what its charts' names end in, among those of other evaluations.
            title: of it.

        Raises:
            RunConflict: it is about no result of this run.
        """
        self._run, self._title = scores.run, title
        judged = {row["of"]: _condense(row) for row in scores.results}
        self._kept: dict[str, Kept] = {}
        counts: Counter[str] = Counter()
        for result in results:
            name = name_rollout(result["record_id"], result["rollout"])
            row = judged.get(name)
            fit = "" if row is None else _fit(result, row)
            counts[fit] += row is not None
            failed = result["status"] == Status.failed
            self._kept[name] = _keep(failed, row if fit == "joined" else None, fit)
        found = {name: counts[name] for name in ("joined", "other_pixels", "asked_otherwise")}
        self.join = Join(scores.run, **found, absent=len(judged) - counts.total())
        """How they fit."""
        if not self.join.joined:
            raise RunConflict(
                f"{scores.run}: none of its {len(judged):,} judgings is about a result of this run "
                f"({', '.join(self.join.describe())}); give an evaluation of this very run"
            )
        self._names = name_charts(scores.scales, key)
        self._key = key
        self.scoring = make_scoring(scores, self._kept.values(), key, title, self.join.describe())
        """What the page says of it."""
        self._details: Mapping[str, Mapping[str, Any]] = {}

    def pick(self, most: int) -> list[int]:
        """Positions of the results with the lowest scores, and of those that the judge failed on.

        Args:
            most: of each.
        """
        kept = list(enumerate(self._kept.values()))
        scored = sorted((each.values[OVERALL], place) for place, each in kept if each.values)
        failed = [place for place, each in kept if each.state == FAILED]
        return [place for _, place in scored[:most]] + failed[:most]

    def read_details(self, positions: Collection[int], storage: StorageConfig) -> None:
        """Fetch what the judge said of the records that are shown.

        Args:
            positions: of these.
            storage: how the evaluation is reached.

        Raises:
            StoreError: it can't be read.
        """
        names = list(self._kept)
        shown = [names[place] for place in positions if self._kept[names[place]].state in (JUDGED, FAILED)]
        self._details = read_details(self._run, storage, shown)

    def tell(self, record: str) -> dict[str, Any]:
        """A record's values by the names of charts."""
        kept = self._kept[record]
        found: dict[str, Any] = {f"judged{self._key}": kept.state}
        found |= {self._names[name]: value for name, value in kept.values.items()}
        return found | ({f"group{self._key}": kept.group} if kept.group is not None else {})

    def judge(self, card: Card) -> Card:
        """The card with this evaluation's verdict."""
        kept = self._kept[card.record_id]
        verdict = Verdict(self._title, kept.state, message=kept.why)
        if (said := self._details.get(card.record_id)) is not None:
            is_scored = kept.state == JUDGED
            axes = tuple((a["name"], a["value"], a["low"], a["high"]) for a in said["axes"] or ())
            verdict = replace(
                verdict,
                score=kept.values[OVERALL] if is_scored else None,
                axes=axes if is_scored else (),
                protocol=said["protocol"] or "",
                message="" if is_scored else f"{said['error_kind']}: {said['error_message']}",
                reason=said["reason"] or "",
                raw=tuple(said["raw"] or ()),
            )
        return replace(card, verdicts=(*card.verdicts, verdict))


@dataclass(frozen=True, slots=True)
class _Row:
    """What is needed of a judging: a million of them have to fit into memory."""

    pixels: str
    asked: str
    """Digest of the original's pixels and the instruction."""
    original: str
    """What its errors share with those of others."""
    failed: bool
    """Whether the edit had failed."""
    values: Mapping[str, float]
    group: str | None


def _condense(row: Mapping[str, Any]) -> _Row:
    return _Row(
        row["result_digest"] or "",
        _digest_question(row),
        row["source_digest"] or row["source"],
        row["result_status"] == Status.failed,
        {name: round(value, 4) for name, value in row["values"].items()},  # as the page has them
        row["group"],
    )


def _digest_question(row: Mapping[str, Any]) -> str:
    return content_hash(row["source_digest"] or "", row["instruction"], size=8)


def _fit(result: Mapping[str, Any], row: _Row) -> str:
    if (result["result_digest"] or "") != row.pixels:
        return "other_pixels"
    return "joined" if _digest_question(result) == row.asked else "asked_otherwise"


def _keep(failed: bool, row: _Row | None, fit: str) -> Kept:
    if failed or (row is not None and row.failed):
        return Kept(NOTHING, "the edit failed")
    if row is None:
        return Kept(NOT, _WHY_NOT[fit])
    if not row.values:
        return Kept(FAILED)
    group = None if row.group is None else clip(row.group)
    return Kept(JUDGED, values=row.values, group=group, original=row.original)


def read_scorings(
    evaluations: Sequence[str], store: Store, storage: StorageConfig, totals: Totals
) -> list[Scored]:
    """Join evaluations to a run, in the order that they are named.

    Args:
        evaluations: their directories.
        store: the run's directory.
        storage: how all of them are reached.
        totals: of the run.

    Raises:
        RunConflict: one is no evaluation, or not of this run.
        ConfigError: two are by the same judge.
        StoreError: one can't be read.
        pa.ArrowException, OSError: a result file of the run can't be read.
    """
    read = [read_scores(uri, storage) for uri in evaluations]
    for scores in read:
        refuse_pairs(scores, "give it to compare as --pairs")
    for number, scores in enumerate(read):
        for other in read[:number]:
            if other.identity == scores.identity:
                raise ConfigError(
                    f"--scores {scores.run}: is by the same judge, asked alike, as {other.run}; give one"
                )
    titles = _name(read)
    return [
        Scored(scores, _list_results(store, storage, totals), f"-{k + 1}" if k else "", titles[k])
        for k, scores in enumerate(read)
    ]


def _name(read: Sequence[Scores]) -> list[str]:
    """By the protocol; where that is the same of several, by the run, too."""
    protocols = [", ".join(scores.identity["protocol"]) for scores in read]
    runs = [scores.run.rstrip("/").rpartition("/")[2] for scores in read]
    return [
        (f"{name}, {run}" if protocols.count(name) > 1 else name) or run
        for name, run in zip(protocols, runs, strict=True)
    ]


def _list_results(store: Store, storage: StorageConfig, totals: Totals) -> Iterator[Mapping[str, Any]]:
    fs, _ = open_arrow_filesystem(store.uri, storage)
    for file in totals.files:
        with pq.ParquetFile(file, filesystem=fs) as parquet:
            known = [name for name in _COLUMNS if name in parquet.schema_arrow.names]
            yield from fill_added(tell_unfinished(parquet.read(columns=known)), _COLUMNS).to_pylist()
