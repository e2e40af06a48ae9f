"""The fold of a catalogue against a plain model of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    made_as: str


class Model:
    """record_id -> work_id -> row, and which plan missed a record."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Row]] = {}
        self.missed: dict[str, int] = {}

    def make(self, record: str, work: str, status: str, plan: int, shard: int) -> None:
        works = self.rows.setdefault(record, {})
        old = works.get(work)
        if old is not None and old.made_as == work and RANK[status] < RANK[old.status]:
            old.plan = plan
        else:
            works[work] = Row(status, (f"run-{plan}", shard), plan, work)
        for name, row in works.items():
            if row.made_as == work:  # what stands in for others is the best that was made
                works[name] = replace(works[work], plan=row.plan)

    def point(self, record: str, work: str, stands_in: str | None, plan: int) -> None:
        works = self.rows[record]
        row = works[stands_in or work]
        works[work] = Row(row.status, row.place, plan, row.made_as)

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
def test_a_fold_is_what_the_model_says_night_by_night_and_at_once(
    told: list[list[tuple[str, ...]]], random: Any
) -> None:
    model, snapshot = Model(), schema.SNAPSHOT.empty_table()
    told_so_far: list[dict[str, Any]] = []
    for plan, says in enumerate(told, start=1):
        rows = []
        for shard, (record, (what, *more)) in enumerate(zip(RECORDS, says, strict=True)):
            if what == "made":
                work, status = more
                made = {"run": f"run-{plan}", "shard": shard, "row": 0, "status": status, "current": False}
                made |= {"made_as": work, "plan": plan, "source": f"m-{plan}", "image_part": f"of {work}"}
                rows.append(update(record_id=record, work_id=work, **made))
                model.make(record, work, status, plan, shard)
        for record, (what, *more) in zip(RECORDS, says, strict=True):
            works = model.rows.get(record, {})
            if what == "points":
                work, stands_in = more
                if stands_in in works and work not in works:
                    stands_in = works[stands_in].made_as
                elif work in works:
                    stands_in = ""
                else:
                    continue
                pointer = {"stands_in": stands_in or None, "plan": plan, "image_part": f"of {work}"}
                rows.append(update(record_id=record, work_id=work, source=f"m-{plan}", **pointer))
                model.point(record, work, stands_in or None, plan)
            elif what == "missed":
                rows.append(update(record_id=record, gone=plan))
                model.missed[record] = plan
        told_so_far += rows
        snapshot = merge(snapshot, pa.Table.from_pylist(rows, schema=UPDATES))
        at_once = merge(schema.SNAPSHOT.empty_table(), pa.Table.from_pylist(told_so_far, schema=UPDATES))
        assert at_once.to_pylist() == snapshot.to_pylist()
        assert snapshot.schema == schema.SNAPSHOT
        found = {(row["record_id"], row["work_id"]): row for row in snapshot.to_pylist()}
        assert len(found) == snapshot.num_rows
        assert found.keys() == {(r, w) for r, works in model.rows.items() for w in works}
        for (record, work), row in found.items():
            expected = model.rows[record][work]
            assert (row["status"], row["plan"]) == (expected.status, expected.plan)
            assert (row["run"], row["shard"], row["made_as"]) == (*expected.place, expected.made_as)
            assert row["source"] == f"m-{expected.plan}"
            assert row["gone"] == model.gone(record)
        current = [(row["record_id"], row["work_id"]) for row in snapshot.to_pylist() if row["current"]]
        for record in model.rows:
            works = [work for name, work in current if name == record]
            assert len(works) == 1
            best = model.rows[record][model.current(record)]
            chosen = model.rows[record][works[0]]
            assert (RANK[chosen.status], chosen.plan) == (RANK[best.status], best.plan)
