"""The fold of a catalogue against a plain model of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mira_batch.storage import schema
from mira_batch.storage.catalogue.merge import UPDATES, merge

RANK = {"failed": 0, "unfinished": 1, "ok": 2}
RECORDS, WORKS = "abc", "xyz"


@dataclass
class Row:
    status: str
    place: tuple[str, int]
    plan: int
    image: str | None = None


class Model:
    """record_id -> work_id -> row, and which plan missed a record."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Row]] = {}
        self.missed: dict[str, int] = {}

    def make(self, record: str, work: str, status: str, plan: int, shard: int) -> None:
        works = self.rows.setdefault(record, {})
        old = works.get(work)
        newest = max(plan, old.plan if old else 0)
        better = old is None or RANK[status] >= RANK[old.status]
        place = (f"run-{plan}", shard) if better else old.place  # type: ignore[union-attr]
        works[work] = Row(status if better else old.status, place, newest)  # type: ignore[union-attr]

    def point(self, record: str, work: str, stands_in: str | None, plan: int) -> None:
        works = self.rows.get(record, {})
        row = works.get(stands_in or work)
        if row is None:
            return
        old = works.get(work)
        if old is None or RANK[row.status] >= RANK[old.status]:
            works[work] = Row(row.status, row.place, max(plan, old.plan if old else 0))
        else:
            old.plan = max(plan, old.plan)

    def current(self, record: str) -> str:
        return max(
            self.rows[record], key=lambda w: (RANK[self.rows[record][w].status], self.rows[record][w].plan)
        )

    def gone(self, record: str) -> int | None:
        missed = self.missed.get(record, -1)
        return missed if missed > max(row.plan for row in self.rows[record].values()) else None


def update(**values: Any) -> dict[str, Any]:
    return dict.fromkeys(UPDATES.names) | values


@st.composite
def nights(draw: st.DrawFn) -> list[list[tuple[str, ...]]]:
    """What each plan says of each record: made with a status, pointed to, missed, or nothing."""
    says = st.one_of(
        st.tuples(st.just("made"), st.sampled_from(WORKS), st.sampled_from(sorted(RANK))),
        st.tuples(st.just("points"), st.sampled_from(WORKS), st.sampled_from(["", *WORKS])),
        st.just(("missed",)),
        st.just(("nothing",)),
    )
    return draw(st.lists(st.tuples(*[says] * len(RECORDS)).map(list), max_size=6))


@settings(max_examples=300, deadline=None)
@given(nights(), st.randoms())
def test_a_fold_is_what_the_model_says(told: list[list[tuple[str, ...]]], random: Any) -> None:
    model, snapshot = Model(), schema.SNAPSHOT.empty_table()
    for plan, says in enumerate(told, start=1):
        rows = []
        for shard, (record, (what, *more)) in enumerate(zip(RECORDS, says, strict=True)):
            if what == "made":
                work, status = more
                made = {"run": f"run-{plan}", "shard": shard, "row": 0, "status": status, "current": False}
                rows.append(update(record_id=record, work_id=work, plan=plan, **made))
                model.make(record, work, status, plan, shard)
        for record, (what, *more) in zip(RECORDS, says, strict=True):
            if what == "points":
                work, stands_in = more
                pointer = {"stands_in": stands_in or None, "plan": plan}
                rows.append(update(record_id=record, work_id=work, **pointer))
                model.point(record, work, stands_in or None, plan)
            elif what == "missed":
                rows.append(update(record_id=record, gone=plan))
                model.missed[record] = plan
        snapshot = merge(snapshot, pa.Table.from_pylist(rows, schema=UPDATES))
        assert snapshot.schema == schema.SNAPSHOT
        found = {(row["record_id"], row["work_id"]): row for row in snapshot.to_pylist()}
        assert len(found) == snapshot.num_rows
        assert found.keys() == {(r, w) for r, works in model.rows.items() for w in works}
        for (record, work), row in found.items():
            expected = model.rows[record][work]
            assert (row["status"], row["plan"]) == (expected.status, expected.plan)
            assert (row["run"], row["shard"]) == expected.place
            assert row["gone"] == model.gone(record)
        current = [(row["record_id"], row["work_id"]) for row in snapshot.to_pylist() if row["current"]]
        for record in model.rows:
            works = [work for name, work in current if name == record]
            assert len(works) == 1
            best = model.rows[record][model.current(record)]
            chosen = model.rows[record][works[0]]
            assert (RANK[chosen.status], chosen.plan) == (RANK[best.status], best.plan)
