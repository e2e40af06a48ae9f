"""What a plan makes of a manifest and a catalogue, against a plain model of it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mira_batch.core.types import Status
from mira_batch.storage import schema
from mira_batch.storage.catalogue.buckets import digest_records
from mira_batch.storage.catalogue.join import KEYS, Cause, join

RECORDS, RUNS, SOURCES = "abc", ("alike", "other"), ("here", "elsewhere")
PARTS = ("1", "2")


def work_of(record: str, image: str, instruction: str, settings: str) -> str:
    return f"{record}-{image}-{instruction}-{settings}"


known_rows = st.builds(
    lambda record, image, instruction, settings, status, run, plan, source, gone: {
        "record_id": record,
        "work_id": work_of(record, image, instruction, settings),
        "image_part": image,
        "instruction_part": instruction,
        "status": status,
        "run": run,
        "plan": plan,
        "source": source,
        "gone": plan + 1 if gone else None,
        "models": run,
    },
    st.sampled_from(RECORDS),
    st.sampled_from(PARTS),
    st.sampled_from(PARTS),
    st.sampled_from(PARTS),
    st.sampled_from(["ok", "unfinished", "failed"]),
    st.sampled_from(RUNS),
    st.integers(1, 9),
    st.sampled_from(SOURCES),
    st.booleans(),
)
manifest_rows = st.tuples(
    st.sampled_from(RECORDS), st.sampled_from(PARTS), st.sampled_from(PARTS), st.booleans()
)


def expect(rows: list[Any], known: list[dict[str, Any]]) -> tuple[list[str], set[tuple[str, str | None]]]:
    """The cause for each row, and the pointers."""
    newest: dict[str, dict[str, Any]] = {}
    for entry in sorted(known, key=lambda entry: entry["plan"]):
        newest[entry["record_id"]] = entry
    by_work = {entry["work_id"]: entry for entry in known}
    causes, pointers, seen = [], set[tuple[str, str | None]](), set[str]()
    for record, image, instruction, usable in rows:
        wanted, same = newest.get(record), by_work.get(work_of(record, image, instruction, "1"))
        if not usable:
            causes.append("rejected")
            continue
        if record in seen:
            causes.append("duplicate")
            continue
        seen.add(record)
        if same is not None and same["status"] == "ok" and same["run"] == "alike":
            causes.append("unchanged")
            if same is not wanted or same["gone"] or same["source"] != "here":
                pointers.add((record, same["work_id"]))
        elif same is not None:
            causes.append({"ok": "repeated"}.get(same["status"], same["status"]))
        elif wanted is None:
            causes.append("new")
        elif wanted["image_part"] != image:
            causes.append("image")
        elif wanted["instruction_part"] != instruction:
            causes.append("instruction")
        else:
            causes.append("settings")
    there = {row[0] for row in rows}
    for record, entry in newest.items():
        if record not in there and entry["source"] == "here" and not entry["gone"]:
            pointers.add((record, None))
    return causes, pointers


@settings(max_examples=400, deadline=None)
@given(st.lists(manifest_rows, max_size=6), st.lists(known_rows, max_size=8))
def test_each_row_runs_for_its_reason_or_not_at_all(rows: list[Any], entries: list[dict[str, Any]]) -> None:
    # A catalogue has a row for each piece of work, and a plan wants one of each record.
    unique = {entry["work_id"]: entry for entry in entries}
    known = list({(entry["record_id"], entry["plan"]): entry for entry in unique.values()}.values())
    keys = {
        "number": list(range(len(rows))),
        "digest": digest_records([row[0] for row in rows]),
        "record_id": [row[0] for row in rows],
        "work_id": [work_of(*row[:3], "1") if row[3] else None for row in rows],
        "image_part": [row[1] for row in rows],
        "instruction_part": [row[2] for row in rows],
    }
    table = pa.table([keys[name] for name in KEYS.names], schema=KEYS)
    catalogue = pa.Table.from_pylist(known, schema=schema.SNAPSHOT)
    found = join(table, catalogue, [Status.ok], ["alike"], "here")
    causes, pointers = expect(rows, known)
    assert [Cause(cause).name for cause in found.causes] == causes
    assert found.pointers.schema == schema.POINTERS
    assert {(row["record_id"], row["work_id"]) for row in found.pointers.to_pylist()} == pointers
    assert len(pointers) == found.pointers.num_rows
    assert found.models.total() == causes.count("unchanged")
