from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.identity import frame_of
from mira_batch.core.types import Trajectory
from mira_batch.storage import schema
from mira_batch.storage.manifest.planned import PlannedRecord
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.results import (
    read_outputs,
    read_trajectories,
    results_dataset,
    take_rows,
)
from mira_batch.storage.run.steprows import make_candidate_rows
from mira_batch.storage.stores.objects import Store
from tests.support.runs.edits import edit_results, open_edit_run
from tests.support.runs.finished import (
    ORIGINAL,
    a_config,
    a_plan_row,
    a_result,
    a_run,
    a_trajectory,
    mixed,
    unopened,
)
from tests.support.servers.s3 import S3Server, free_port

RECORDS = 150


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return a_run(a_config(tmp_path_factory.mktemp("out")), RECORDS, shard_size=100)


def file_of(*trajectories: Trajectory) -> bytes:
    config = a_config("/out")
    return edit_results([a_result(a_plan_row(i), one, config) for i, one in enumerate(trajectories)])


def image_of(picture: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(picture["bytes"]))


def test_a_result_row_says_what_happened() -> None:
    config = a_config("/out")
    trajectory = a_trajectory(3, rejected=(2,))
    row = a_result(a_plan_row(7), trajectory, config)
    image, steps, drawn = row.pop("image"), row.pop("steps"), row.pop("candidates")
    assert row == {
        "record_id": "r7",
        "work_id": a_plan_row(7)["work_id"],
        "instruction": "make it “nicer” 7",
        "status": "ok",
        "stop_reason": "policy_stop",
        "error_kind": None,
        "error_message": None,
        "width": 3,
        "height": 2,
        "num_steps": 3,
        "seconds": {"policy": 0.5, "editor": 1.5, "judge": 0.0, "waiting": 0.25, "io": 0.125},
        "models": {"policy": "rules/1", "editor": "pillow/1", "judge": None},
        "source": "/data/7.png",
        "cost": 0.0,
        "source_digest": ORIGINAL.digest,
        "result_digest": trajectory.steps[1].step.after,
        "restored": False,
        "final_thought": "looks right",
        "metadata": '{"sku": 7}',
        "source_depth": None,
        "source_c2pa": None,
        "source_type": None,
        "fidelity": None,
        "rollout": None,
        "branch": None,
        "prompt_version": None,
        "answers": None,
        "judgements": None,
    }
    assert frame_of(image_of(image)).digest == trajectory.steps[1].step.after
    assert [step["accepted"] for step in steps] == [True, True, False]
    assert steps[0]["before"] == ORIGINAL.digest
    assert drawn == make_candidate_rows(logged.step for logged in trajectory.steps) and len(drawn) == 2


def test_a_failed_row_keeps_its_best_image_and_its_steps() -> None:
    config = a_config("/out")
    failed = a_result(a_plan_row(0), a_trajectory(2, fails=True), config)
    assert (failed["status"], failed["stop_reason"]) == ("failed", None)
    assert (failed["error_kind"], failed["error_message"]) == ("editor_failed", "ValueError: no")
    assert failed["image"] and failed["num_steps"] == 2 and failed["final_thought"] is None
    lost = a_result(a_plan_row(1), unopened(), config)
    assert [lost[name] for name in ("image", "width", "height", "source_digest")] == [None] * 4
    assert (lost["status"], lost["error_kind"], lost["steps"]) == ("failed", "image_unreadable", [])


def test_the_source_is_a_uri_or_a_place() -> None:
    assert PlannedRecord.from_row(a_plan_row(3)).source == "/data/3.png"
    place = {"image_uri": None, "image_file": "/m.parquet", "image_row_group": 2, "image_row": 5}
    assert PlannedRecord.from_row(a_plan_row(3) | place).source == "/m.parquet#row_group=2&row=5"


@pytest.mark.parametrize(
    "trajectories",
    [[], [a_trajectory(0)], [a_trajectory(3)] * 3, [unopened()] * 3, [a_trajectory(2, fails=True)]],
    ids=["empty", "no step", "all ok", "all unopened", "all failed"],
)
def test_every_file_has_the_one_schema(trajectories: list[Trajectory]) -> None:
    file = pq.ParquetFile(io.BytesIO(file_of(*trajectories)))
    assert file.schema_arrow.equals(schema.RESULTS)
    assert file.schema_arrow.metadata == schema.RESULTS.metadata
    assert file.metadata.num_rows == len(trajectories)


def test_images_are_not_compressed_again_and_rows_come_in_groups() -> None:
    file = pq.ParquetFile(io.BytesIO(file_of(*[a_trajectory(1)] * 130)))
    groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [64, 64, 2]
    compression = {
        groups[0].column(i).path_in_schema: groups[0].column(i).compression
        for i in range(groups[0].num_columns)
    }
    plain = {f"{column}image.bytes" for column in ("", "steps.list.element.", "judgements.list.element.")}
    assert plain <= compression.keys()
    assert {
        name: kind for name, kind in compression.items() if (kind == "UNCOMPRESSED") != (name in plain)
    } == {}


def test_large_images_close_a_group() -> None:
    config = a_config("/out")
    row = a_result(a_plan_row(0), a_trajectory(0), config)
    row["image"] = {"bytes": bytes(25_000_000), "path": None}
    file = pq.ParquetFile(io.BytesIO(edit_results([row] * 4)))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2, 2]


def test_outputs_are_one_row_per_record(finished: Store) -> None:
    table = read_outputs(finished.uri)
    assert table.column_names == [name for name in schema.RESULTS.names if name != "steps"]
    assert table["record_id"].to_pylist() == [f"r{i}" for i in range(RECORDS)]
    for index, row in enumerate(table.to_pylist()):
        trajectory = mixed(index)
        assert row["status"] == trajectory.status
        assert row["num_steps"] == len(trajectory.steps)
        assert (row["image"] is None) == (trajectory.result.pixels is None)
        if row["image"]:
            assert frame_of(image_of(row["image"])).digest == trajectory.result.digest
    some = read_outputs(f"{finished.uri}/results/", columns=["status", "record_id"])
    assert some.column_names == ["status", "record_id"] and some.num_rows == RECORDS


def test_trajectories_are_one_row_per_step(finished: Store) -> None:
    table = read_trajectories(finished.uri)
    assert table.column_names == ["record_id", "work_id", "goal", *[field.name for field in schema.STEP]]
    rows = iter(table.to_pylist())
    for index in range(RECORDS):
        for logged in mixed(index).steps:
            row = next(rows)
            assert (row["record_id"], row["work_id"]) == (f"r{index}", a_plan_row(index)["work_id"])
            assert (row["goal"], row["instruction"]) == (f"make it “nicer” {index}", logged.step.instruction)
            assert (row["index"], row["seed"]) == (logged.step.index, logged.step.seed)
            assert (row["accepted"], row["score"]) == (logged.step.accepted, logged.step.score)
            assert row["seconds"]["editor"] == logged.step.usage["editor"]
            assert frame_of(image_of(row["image"])).digest == logged.step.after
    assert next(rows, None) is None
    bare = read_trajectories(finished.uri, images=False)
    assert "image" not in bare.column_names and bare.num_rows == table.num_rows


@pytest.mark.parametrize("reason", ["max_steps", "no_progress", "oscillation", "time_limit"])
def test_rows_of_before_there_was_unfinished_are_read_as_that(tmp_path: Path, reason: str) -> None:
    store = open_edit_run(a_config(tmp_path), [])
    ends = [("ok", reason), ("ok", "policy_stop"), ("ok", "judge_satisfied"), ("failed", None)]
    rows = [
        a_result(a_plan_row(i), a_trajectory(1), a_config(tmp_path)) | {"status": s, "stop_reason": r}
        for i, (s, r) in enumerate([*ends, ("unfinished", reason)])
    ]
    store.create(result_key(0), edit_results(rows))
    expected = ["unfinished", "ok", "ok", "failed", "unfinished"]
    assert read_outputs(store.uri, ["status"]).to_pydict() == {"status": expected}
    assert read_outputs(store.uri, ["record_id"]).column_names == ["record_id"]
    whole = read_outputs(store.uri)
    assert whole["status"].to_pylist() == expected
    assert whole.schema.equals(schema.RESULTS.remove(schema.RESULTS.get_field_index("steps")))


def test_a_run_without_results_reads_as_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="^/nowhere/run: holds no results; give the run's directory"):
        read_outputs("/nowhere/run")
    store = a_run(a_config(tmp_path), 0)
    assert read_outputs(store.uri).num_rows == 0
    assert read_trajectories(store.uri).num_rows == 0
    assert read_trajectories(store.uri).column_names[:3] == ["record_id", "work_id", "goal"]


def test_what_is_not_a_result_file_is_not_read(tmp_path: Path) -> None:
    store = a_run(a_config(tmp_path), 8)
    (tmp_path / "run" / "results" / ".part-00000.parquet.0123456789abcdef.tmp").write_bytes(b"torn")
    (tmp_path / "run" / "results" / "notes.txt").write_text("hello")
    pq.write_table(pa.table({"of": ["somebody else"]}), tmp_path / "run" / "results" / "mine.parquet")
    assert read_outputs(store.uri).num_rows == 8


def test_a_dead_endpoint_is_a_store_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    storage = StorageConfig(
        endpoint_url=f"http://127.0.0.1:{free_port()}", timeout_seconds=1, retry_seconds=1
    )
    with pytest.raises(StoreError, match=r"^s3://bucket/run/results: .*EndpointConnectionError") as error:
        results_dataset("s3://bucket/run", storage)
    assert "\n" not in str(error.value)


@pytest.mark.s3
def test_results_on_s3(s3: S3Server, monkeypatch: pytest.MonkeyPatch, finished: Store) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    s3.upload(Path(finished.uri), "results-test/run")
    storage = StorageConfig(endpoint_url=s3.endpoint)
    where = f"s3://{s3.bucket}/results-test/run"
    assert read_outputs(where, storage=storage).equals(read_outputs(finished.uri))
    assert read_trajectories(where, storage=storage).equals(read_trajectories(finished.uri))
    nothing = f"s3://{s3.bucket}/results-test/elsewhere"
    with pytest.raises(StoreError, match="elsewhere: holds no results"):
        read_outputs(nothing, storage=storage)


def test_plain_arrow_and_pandas_read_the_results(finished: Store) -> None:
    place = f"{finished.uri}/results"
    table = pq.read_table(place)
    assert table.num_rows == RECORDS and table.schema.equals(schema.RESULTS)
    frame = pd.read_parquet(place, columns=["record_id", "status", "seconds", "metadata", "image"])
    assert list(frame["record_id"]) == [f"r{i}" for i in range(RECORDS)]
    assert json.loads(frame["metadata"][3]) == {"sku": 3}
    assert frame["image"][0]["bytes"].startswith(b"\x89PNG")
    counted = pq.read_table(place, columns=["status"], filters=[("status", "=", "ok")])
    assert counted.num_rows == sum(mixed(i).status == "ok" for i in range(RECORDS))


def test_hugging_face_datasets_show_images_as_images(
    finished: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    files = [str(path) for path in sorted(Path(finished.uri, "results").glob("*.parquet"))]
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert rows.num_rows == RECORDS
    assert rows.features["image"] == datasets.Image()
    for index in (0, 1, 2, 3, 7):
        row, trajectory = rows[index], mixed(index)
        if trajectory.result.pixels is None:
            assert row["image"] is None
        else:
            assert frame_of(row["image"]).digest == trajectory.result.digest
        assert [frame_of(step["image"]).digest for step in row["steps"]] == [
            logged.step.after for logged in trajectory.steps
        ]
        assert row["seconds"]["editor"] == trajectory.usage["editor"]
    plain = datasets.Dataset.from_parquet(files[0], cache_dir=str(tmp_path / "other"))
    assert isinstance(plain[0]["image"], Image.Image)


def test_a_file_of_failures_alone_joins_others(finished: Store, tmp_path: Path) -> None:
    (tmp_path / "ok.parquet").write_bytes(file_of(a_trajectory(2)))
    (tmp_path / "failed.parquet").write_bytes(file_of(unopened(), unopened()))
    assert pq.read_table(tmp_path).num_rows == 3
    assert len(pd.read_parquet(tmp_path)) == 3
    parts = [pq.read_table(tmp_path / name) for name in ("ok.parquet", "failed.parquet")]
    assert pa.concat_tables(parts).num_rows == 3


def test_rows_are_taken_from_their_row_groups_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.table({"name": [f"r{k}" for k in range(10)], "other": list(range(10))})
    pq.write_table(table, path, row_group_size=3)
    with pq.ParquetFile(path) as parquet:
        tables = list(take_rows(parquet, [1, 2, 8, 9], ["name"]))
        assert [table.to_pydict() for table in tables] == [
            {"name": names} for names in (["r1", "r2"], ["r8"], ["r9"])
        ]
        assert [table.column_names for table in take_rows(parquet, [4])] == [["name", "other"]]
        assert not list(take_rows(parquet, []))
