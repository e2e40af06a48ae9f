"""The pairs that an editor is taught by: results of runs, those that people approve of, a manifest's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from mira_batch import load_config, run
from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, RecordError
from mira_batch.storage.run.decisions import keep_decisions
from mira_batch.storage.stores import open_store
from mira_batch.train.editor.pairs import PairImages, find_pairs
from tests.support.pairs import write_pairs
from tests.support.runs.catalogue import make_catalogue, settings

RECORDS = 20


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run of the edit job, of which some records failed."""
    folder = tmp_path_factory.mktemp("edited")
    manifest = make_catalogue(folder / "catalogue", RECORDS)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[3]["image"] = "gone.png"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run(load_config(settings(manifest, folder / "out", backend="inline"))).run


def configure(source: str | Path, **data: Any) -> EditorSftConfig:
    return EditorSftConfig.model_validate(
        {
            "editor": {"pipeline": "diffusers.FluxKontextPipeline", "weights": "/w"},
            "data": {"manifest": str(source), **data},
            "output": {"uri": "/o"},
            "max_steps": 1,
        }
    )


def read_rows(done: str) -> dict[str, dict[str, Any]]:
    return {row["record_id"]: row for row in pq.read_table(f"{done}/results").to_pylist()}


def test_good_results_of_a_run_are_pairs_with_their_originals(done: str) -> None:
    rows, found = read_rows(done), find_pairs(configure(done))
    good = {name for name, row in rows.items() if row["status"] == "ok"}
    assert {pair.record.record_id for pair in found.pairs} == good
    assert sum(found.left_out.values()) == RECORDS - len(good) > 0 and set(found.left_out) == {
        "the edit failed"
    }
    with PairImages(configure(done)) as images:
        for pair, shown in zip(found.pairs, images.open(found.pairs), strict=True):
            assert not isinstance(shown, RecordError)
            row = rows[pair.record.record_id]
            assert (shown.original.digest, shown.candidate.digest) == (
                row["source_digest"],
                row["result_digest"],
            )
            assert pair.record.instruction == row["instruction"]


def test_all_runs_of_an_output_give_the_same_pairs(done: str) -> None:
    one, all_runs = (find_pairs(configure(place)) for place in (done, Path(done).parent))
    assert [p.record.record_id for p in one.pairs] == [p.record.record_id for p in all_runs.pairs]
    assert one.digest == all_runs.digest


def test_only_what_people_approve_of(done: str) -> None:
    rows = [row for row in read_rows(done).values() if row["status"] == "ok"]
    said = "".join(
        json.dumps(
            {"record_id": row["record_id"], "result_digest": row["result_digest"], "decision": decision}
        )
        + "\n"
        for row, decision in zip(rows, ["approve", "reject", "approve"], strict=False)
    )
    keep_decisions(open_store(done, StorageConfig()), StorageConfig(), said.encode(), "d.jsonl")
    found = find_pairs(configure(done, approved_only=True))
    assert {pair.record.record_id for pair in found.pairs} == {rows[0]["record_id"], rows[2]["record_id"]}
    assert found.left_out["not approved"] == len(rows) - 2


def test_where_chooses_and_nothing_left_is_told(done: str) -> None:
    rows = read_rows(done).values()
    failed = sum(row["status"] == "failed" for row in rows)
    name = next(row["record_id"] for row in rows if row["status"] == "ok")
    found = find_pairs(configure(done, where=f"record_id = '{name}'"))
    assert [pair.record.record_id for pair in found.pairs] == [name]
    with pytest.raises(ConfigError, match=rf"has no pair to learn from \({failed}: the edit failed\)"):
        find_pairs(configure(done, where="status = 'failed'"))


def test_a_manifest_of_pairs_has_neither_statuses_nor_decisions(tmp_path: Path) -> None:
    manifest = write_pairs(tmp_path, 3)
    assert len(find_pairs(configure(manifest)).pairs) == 3
    with pytest.raises(ConfigError, match=r"data\.approved_only: is for results of runs"):
        find_pairs(configure(manifest, approved_only=True))
    with pytest.raises(ConfigError, match="statuses: is for results of runs"):
        find_pairs(configure(manifest, statuses=["unfinished"]))
    with pytest.raises(ConfigError, match=r"data\.where: is for results of runs"):
        find_pairs(configure(manifest, where="status = 'ok'"))
    with pytest.raises(ValidationError, match="at least 1 item"):
        configure(manifest, statuses=[])
