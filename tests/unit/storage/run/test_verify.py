from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.core.identity import frame_of
from mira_batch.imaging import encode_png
from mira_batch.storage.manifest.listing import ManifestFile
from mira_batch.storage.run.planfile import read_plan
from mira_batch.storage.stores.objects import Store, open_store
from tests.support.runs.edits import edit_results, open_edit_run, verify_edits
from tests.support.runs.finished import a_config, a_run, mixed
from tests.support.servers.s3 import S3Server

PART = "results/part-00001.parquet"
Row = dict[str, Any]


@pytest.fixture
def config(tmp_path: Path) -> BulkEditConfig:
    return a_config(tmp_path)


@pytest.fixture
def store(config: BulkEditConfig) -> Store:
    """24 records; shard 1 holds r4 to r7, of which r5 has three steps with the second rolled back."""
    return a_run(config, 24)


def problems(store: Store) -> list[str]:
    return verify_edits(store).problems


def rows_of(store: Store, key: str = PART) -> list[Row]:
    data = store.get(key)
    assert data is not None
    return pq.read_table(io.BytesIO(data)).to_pylist()


def change(store: Store, edit: Callable[[list[Row]], Any], key: str = PART) -> None:
    rows = rows_of(store, key)
    edit(rows)
    store.put(key, edit_results(rows))


def test_a_whole_run_has_no_problems(store: Store) -> None:
    verdict = verify_edits(store)
    assert verdict.problems == [] and verdict.whole
    assert verdict.planned == verdict.committed == 24
    steps = sum(len(mixed(i).steps) for i in range(24))
    results = sum(mixed(i).result.pixels is not None for i in range(24))
    assert (verdict.steps, verdict.images) == (steps, steps + results)
    failed = sum(mixed(i).failure is not None for i in range(24))
    assert (verdict.ok, verdict.unfinished, verdict.failed) == (24 - failed, 0, failed)


@pytest.mark.parametrize("said", ["unfinished", "ok"])  # as release 0.1 said
def test_unfinished_records_are_counted_and_are_no_problem(store: Store, said: str) -> None:
    before = verify_edits(store)
    change(store, lambda rows: rows[1].update(status=said, stop_reason="oscillation"))
    verdict = verify_edits(store)
    assert verdict.whole and verdict.unfinished == 1
    assert (verdict.ok, verdict.failed) == (before.ok - 1, before.failed)
    assert verdict.ok + verdict.unfinished + verdict.failed == verdict.committed


def test_an_unfinished_record_has_an_image(store: Store) -> None:
    lost = {"status": "unfinished", "stop_reason": "max_steps", "image": None}
    change(store, lambda rows: rows[1].update(lost))
    assert problems(store) == [f"{PART}: 'r5': status is unfinished, but there is no image"]


@pytest.mark.parametrize(
    "output",
    [
        {"format": "webp", "quality": 100},
        {"format": "webp", "quality": 80},
        {"format": "jpeg"},
        {"step_images": "drop"},
    ],
)
def test_every_form_of_output_is_checked(tmp_path: Path, output: Row) -> None:
    verdict = verify_edits(a_run(a_config(tmp_path, **output), 24))
    assert verdict.problems == []
    assert verdict.images > 0


@pytest.mark.s3
def test_a_run_on_s3(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    config = a_config(f"s3://{s3.bucket}/verify").model_copy(
        update={"storage": StorageConfig(endpoint_url=s3.endpoint)}
    )
    store = a_run(config, 12)
    assert problems(store) == []
    store.delete([PART])
    assert problems(store) == [f"{PART}: is missing (3 records); run the job again"]


def test_an_empty_directory_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunConflict, match="holds no run"):
        verify_edits(open_store(str(tmp_path), StorageConfig()))


def test_a_run_that_is_not_planned(config: BulkEditConfig) -> None:
    store = open_edit_run(config, [ManifestFile("/m", "jsonl", "v1")])
    assert problems(store) == [f"{store.uri}/plan/plan.json: the run is not planned yet; run it again"]


def test_a_run_whose_plan_is_lost_is_not_one_that_was_never_planned(store: Store) -> None:
    count = len(list(store.list("results")))
    store.delete(["plan/plan.json"])
    (told,) = problems(store)
    assert told.startswith(f"{store.uri}/plan/plan.json: the plan is lost, and {count} result files are ther")
    assert "put plan/ back from a copy" in told and "run it again" not in told


def test_a_missing_part(store: Store) -> None:
    store.delete([PART])
    verdict = verify_edits(store)
    assert verdict.problems == [f"{PART}: is missing (4 records); run the job again"]
    assert (verdict.planned, verdict.committed) == (24, 20)


def test_a_foreign_part(store: Store) -> None:
    data = store.get(PART)
    assert data is not None
    store.put("results/part-99999.parquet", data)
    store.put("results/notes.txt", b"hello")
    assert problems(store) == [
        "results/notes.txt: is not part of the plan; move it elsewhere",
        "results/part-99999.parquet: is not part of the plan; move it elsewhere",
    ]


def test_what_a_killed_worker_left_half_written_is_no_problem(store: Store) -> None:
    Path(store.uri, "results", ".part-00001.parquet.0123456789abcdef.tmp").write_bytes(b"half")
    assert problems(store) == []


@pytest.mark.parametrize("kept", [0, 3, 100, 0.5, -1])
def test_a_truncated_part(store: Store, kept: float) -> None:
    data = store.get(PART)
    assert data is not None
    store.put(PART, data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    [problem] = problems(store)
    assert problem.startswith(f"{PART}: is not whole Parquet (")
    assert problem.endswith("; keep it, but move it out of the run's directory, and run the job again")


def test_damaged_pages_under_a_whole_footer(store: Store) -> None:
    data = store.get(PART)
    assert data is not None
    footer = int.from_bytes(data[-8:-4], "little")
    for place in range(4, len(data) - footer - 8 - 50, 501):
        store.put(
            PART, data[:place] + bytes(byte ^ 0x55 for byte in data[place : place + 50]) + data[place + 50 :]
        )
        [problem] = problems(store)
        assert problem.startswith(f"{PART}: is damaged (") and "\n" not in problem


def test_a_part_of_another_schema(store: Store) -> None:
    sink = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(store.get(PART) or b"")).drop_columns(["source"]), sink)
    store.put(PART, sink.getvalue())
    assert problems(store) == [
        f"{PART}: has another schema than results have; keep it, but move it out of the run's directory, "
        "and run the job again"
    ]


def test_a_record_that_is_there_twice(store: Store) -> None:
    work = rows_of(store)[2]["work_id"]
    change(store, lambda rows: rows.append(rows[2]))
    assert problems(store) == [f"{PART}: work_id {work} is there twice"]


def test_a_part_in_place_of_another(store: Store) -> None:
    data = store.get("results/part-00000.parquet")
    assert data is not None
    store.put(PART, data)
    found = problems(store)
    assert len(found) == 8
    assert sum("is there twice" in problem for problem in found) == 4
    assert sum("planned work_id" in problem and "is missing" in problem for problem in found) == 4


def test_a_lost_and_an_unplanned_record(store: Store) -> None:
    work = rows_of(store)[0]["work_id"]
    change(store, lambda rows: rows[0].update(work_id="f" * 32))
    assert problems(store) == [
        f"{PART}: work_id {'f' * 32} is not planned for this shard",
        f"{PART}: planned work_id {work} is missing",
    ]


def set_result(data: bytes | None) -> Callable[[list[Row]], Any]:
    return lambda rows: rows[1].update(image=data and {"bytes": data, "path": None})


def set_step(place: int, **values: Any) -> Callable[[list[Row]], Any]:
    return lambda rows: rows[1]["steps"][place].update(values)


def a_picture(colour: tuple[int, int, int]) -> Row:
    return {"bytes": encode_png(Image.new("RGB", (3, 2), colour)), "path": None}


OTHER, THIRD = a_picture((1, 2, 3)), a_picture((3, 2, 1))


def digest_of(picture: Row) -> str:
    return frame_of(Image.open(io.BytesIO(picture["bytes"]))).digest


DAMAGES: list[tuple[Callable[[list[Row]], Any], str]] = [
    (set_result(b"no image"), "result image does not decode: .*cannot identify image file"),
    (set_result(OTHER["bytes"][:50]), "result image does not decode: "),
    (set_result(b"\x89PNG\r\n\x1a\n" + bytes(40)), "result image does not decode: "),
    (set_result(OTHER["bytes"]), "result image has other pixels than its step gave"),
    (set_result(None), "status is ok, but there is no image"),
    (set_step(0, image={"bytes": b"", "path": None}), "step 0's image does not decode"),
    (set_step(1, image=OTHER), "step 1's image has other pixels than its step gave"),
    (set_step(2, index=5), "step 2 is numbered 5"),
    (set_step(1, before="0" * 32), "step 1 does not start from the image before it"),
    (set_step(1, accepted=True), "step 2 does not start from the image before it"),
    (lambda rows: rows[1].update(num_steps=7), "num_steps is 7, steps 3"),
    (lambda rows: rows[1].update(source_digest="0" * 32), "step 0 does not start from the image before it"),
    (lambda rows: rows[1].update(image={"bytes": None, "path": "gone.png"}), "result image is missing: gone"),
]


@pytest.mark.parametrize(("edit", "expected"), DAMAGES, ids=[text for _, text in DAMAGES])
def test_a_damaged_record_is_named(store: Store, edit: Callable[[list[Row]], Any], expected: str) -> None:
    change(store, edit)
    [problem] = problems(store)
    assert problem.startswith(f"{PART}: 'r5': ")
    assert re.search(expected, problem)


def test_a_removed_step_breaks_the_chain(store: Store) -> None:
    change(store, lambda rows: rows[1]["steps"].pop(0))
    found = problems(store)
    assert f"{PART}: 'r5': step 0 is numbered 1" in found
    assert f"{PART}: 'r5': step 0 does not start from the image before it" in found
    assert f"{PART}: 'r5': num_steps is 3, steps 2" in found


def test_with_a_judge_any_accepted_image_may_be_the_result(store: Store) -> None:
    def judged(result: int) -> Callable[[list[Row]], Any]:
        def edit(rows: list[Row]) -> None:
            row = rows[1]
            row["models"]["judge"] = "judge/1"
            row["image"] = row["steps"][result]["image"]
            row["result_digest"] = row["steps"][result]["after"]

        return edit

    change(store, judged(0))
    assert problems(store) == []
    change(store, judged(1))
    taken = f"{PART}: 'r5': the result is not the image of a step it may be taken from"
    assert problems(store) == [taken]


def test_a_restored_result_is_no_steps_image_but_its_own(store: Store) -> None:
    def restored(image: dict[str, Any]) -> Callable[[list[Row]], Any]:
        def edit(rows: list[Row]) -> None:
            rows[1] |= {"image": image, "restored": True, "result_digest": digest_of(OTHER)}

        return edit

    change(store, restored(OTHER))
    assert problems(store) == []
    change(store, restored(THIRD))
    assert problems(store) == [f"{PART}: 'r5': result image has other pixels than its step gave"]


def test_referenced_images_are_followed(store: Store) -> None:
    def refer(rows: list[Row]) -> None:
        for index, step in enumerate(rows[1]["steps"]):
            key = f"steps/w0/{index}.png"
            store.put(key, step["image"]["bytes"])
            step["image"] = {"bytes": None, "path": store.locate(key)}

    change(store, refer)
    assert problems(store) == []
    store.put("steps/w0/1.png", OTHER["bytes"])
    store.delete(["steps/w0/2.png"])
    assert problems(store) == [
        f"{PART}: 'r5': step 1's image has other pixels than its step gave",
        f"{PART}: 'r5': step 2's image is missing: {store.uri}/steps/w0/2.png",
    ]


def test_a_lost_plan_file_is_an_error(store: Store) -> None:
    plan = read_plan(store)
    assert plan is not None
    store.delete(plan.files)
    with pytest.raises(StoreError, match="this plan file is missing"):
        verify_edits(store)


def test_problems_are_told_up_to_a_bound(config: BulkEditConfig) -> None:
    store = a_run(config, 24)
    for entry in list(store.list("results")):
        store.put(entry.key, b"torn")
    assert len(problems(store)) == len(list(store.list("results")))
