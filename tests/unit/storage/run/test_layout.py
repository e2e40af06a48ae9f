from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.load import load_config
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, RunConflict, StoreError
from mira_batch.storage import schema
from mira_batch.storage.manifest.listing import ManifestFile
from mira_batch.storage.run import layout
from mira_batch.storage.run.calls import note_call
from mira_batch.storage.run.identities import check_identities
from mira_batch.storage.run.layout import find_newest, open_run, read_run
from mira_batch.storage.run.planfile import LeftOut, SkippedBy
from mira_batch.storage.run.planwriter import PlanWriter
from mira_batch.storage.stores.objects import Store, open_store
from tests.support.runs.edits import edit_run_id, open_edit_run, spec_of

FILES = [ManifestFile("/data/shop/manifest.jsonl", "jsonl", "v1")]


def config(out: object = "/out", **settings: Any) -> BulkEditConfig:
    given = {"manifest": "/data/shop/manifest.jsonl"} | settings.pop("input", {})
    output = {"uri": str(out)} | settings.pop("output", {})
    return BulkEditConfig.model_validate({"input": given, "output": output} | settings)


def test_a_run_is_named_after_its_manifest() -> None:
    names = {
        "/data/shop/manifest.jsonl": "shop-",
        "/data/shop/june 2026.csv.gz": "june-2026-",
        "s3://bucket/manifest.parquet": "bucket-",
        "s3://bucket/in/part-*.parquet": "part-",
        "/data/写真.jsonl": "data-",
        "/manifest.csv": "run-",
    }
    for manifest, start in names.items():
        name = edit_run_id(config(input={"manifest": manifest}), FILES)
        assert name.startswith(start) and len(name) == len(start) + 10
        config(run_id=name)
    assert edit_run_id(config(run_id="mine"), FILES) == "mine"


def test_the_name_changes_with_what_the_run_gives_and_with_nothing_else() -> None:
    name = edit_run_id(config(), FILES)
    same = [
        config("/elsewhere"),
        config(workers={"max": 7, "shard_size": 3}),
        config(backend="inline"),
        config(storage={"timeout_seconds": 3}),
        config(output={"skip_done": False}),
    ]
    assert {edit_run_id(other, FILES) for other in same} == {name}
    others = [
        config(limits={"max_steps": 3}),
        config(output={"format": "webp"}),
        config(output={"step_images": "drop"}),
        config(input={"columns": {"image": "picture"}}),
        config(input={"allow": ["/data"]}),
    ]
    changed = [ManifestFile("/data/shop/manifest.jsonl", "jsonl", "v2")]
    found = {edit_run_id(other, FILES) for other in others} | {edit_run_id(config(), changed)}
    assert len(found - {name}) == 6


def test_each_call_whose_config_is_another_is_on_record(tmp_path: Path) -> None:
    first = config(tmp_path, run_id="mine")
    store = open_edit_run(first, FILES)
    begun = store.get("run.json")
    path = Path(store.uri, "run.json")
    calls = [
        (first, 0),
        (config(tmp_path, run_id="mine", workers={"max": 7}), 1),
        (config(tmp_path, run_id="mine", workers={"max": 7}), 1),
        (config(tmp_path, run_id="mine", limits={"edit_seconds": 77}), 2),
        (first, 3),
    ]
    for call, known in calls:
        note_call(store, spec_of(call, FILES))
        assert len(list(store.list("calls"))) == known
        assert load_config(path) == call, "run.json reruns the run as it was last called"
    assert store.get("run.json") == begun
    document = json.loads(store.get("calls/00001.json") or b"")
    assert document["config"]["workers"]["max"] == 7 and document["called"] > read_run(store)["created"]
    assert document["versions"] == read_run(store)["versions"]


def test_calls_are_numbered_after_the_last_and_other_files_are_left_alone(tmp_path: Path) -> None:
    store = open_edit_run(config(tmp_path, run_id="mine"), FILES)
    for cpus in (2, 3):
        note_call(store, spec_of(config(tmp_path, run_id="mine", workers={"cpus": cpus}), FILES))
    store.delete(["calls/00001.json"])
    store.put("calls/notes.txt", b"mine")
    note_call(store, spec_of(config(tmp_path, run_id="mine", workers={"cpus": 4}), FILES))
    found = sorted(entry.key for entry in store.list("calls"))
    assert found == ["calls/00002.json", "calls/00003.json", "calls/notes.txt"]
    assert load_config(Path(store.uri, "run.json")).workers.cpus == 4
    store.put("calls/00003.json", b"{")
    with pytest.raises(StoreError, match=r"calls/00003\.json: is damaged"):
        note_call(store, spec_of(config(tmp_path, run_id="mine"), FILES))
    with pytest.raises(ConfigError, match=r"calls/00003\.json:1: is not valid JSON"):
        load_config(Path(store.uri, "run.json"))


def test_a_run_may_be_opened_again(tmp_path: Path) -> None:
    first = open_edit_run(config(tmp_path), FILES)
    before = (Path(first.uri) / "run.json").read_bytes()
    assert open_edit_run(config(tmp_path, workers={"max": 3}), FILES).uri == first.uri
    assert (Path(first.uri) / "run.json").read_bytes() == before
    about = read_run(first)
    assert about["run_id"] == first.name and about["manifest"] == [
        {"path": "/data/shop/manifest.jsonl", "version": "v1"}
    ]
    assert BulkEditConfig.model_validate(about["config"]) == config(tmp_path, run_id=first.name)


def test_other_settings_under_the_same_name_are_shown(tmp_path: Path) -> None:
    open_edit_run(config(tmp_path, run_id="mine"), FILES)
    other = config(tmp_path, run_id="mine", limits={"max_steps": 3}, output={"step_images": "drop"})
    with pytest.raises(RunConflict) as error:
        open_edit_run(other, FILES)
    assert str(error.value) == (
        f"{tmp_path}/mine: this run was started with other settings:\n"
        "  pixels.limits.max_steps: was 8, now 3\n"
        '  step_images: was "embed", now "drop"\n'
        "choose another run_id (or leave it out), or restore the settings"
    )
    with pytest.raises(RunConflict, match="input.manifest: its files have changed since this run was plan"):
        open_edit_run(
            config(tmp_path, run_id="mine"), [ManifestFile("/data/shop/manifest.jsonl", "jsonl", "v2")]
        )


def test_drivers_that_start_together_open_one_run(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: open_edit_run(config(tmp_path), FILES), range(8)))
    assert len({store.uri for store in stores}) == 1
    assert json.loads((Path(stores[0].uri) / "run.json").read_text())["run_id"] == stores[0].name


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunConflict, match="holds no run"):
        read_run(open_store(str(tmp_path), StorageConfig()))


def test_run_json_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    store = open_edit_run(config(tmp_path), FILES)
    assert "hush-hush" not in (Path(store.uri) / "run.json").read_text()


def test_a_run_knows_when_it_was_created_and_is_the_same_whenever(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    store = open_edit_run(config(tmp_path), FILES)
    created = datetime.fromisoformat(read_run(store)["created"])
    assert before <= created <= datetime.now(UTC)
    open_edit_run(config(tmp_path), FILES)
    assert datetime.fromisoformat(read_run(store)["created"]) == created


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (b"", "JSONDecodeError: Expecting value"),
        (b'{"run_id": "mi', "JSONDecodeError: Unterminated string"),
        (b"\xff\xfe\xff", "UnicodeDecodeError"),
        (b"[" * 100_000, "RecursionError"),
        (b"[1]", "it holds a list"),
        (b'{"run_id": "mine"}', "it lacks fingerprint, settings, config"),
    ],
)
def test_a_damaged_run_json_is_named(tmp_path: Path, damage: bytes, problem: str) -> None:
    store = open_edit_run(config(tmp_path, run_id="mine"), FILES)
    store.put("run.json", damage)
    for read in (lambda: read_run(store), lambda: open_edit_run(config(tmp_path, run_id="mine"), FILES)):
        with pytest.raises(StoreError, match=re.escape(f"{tmp_path}/mine/run.json: is damaged ({problem}")):
            read()


def test_the_newest_run_of_a_series_is_found_without_a_trace(tmp_path: Path) -> None:
    settings = config(tmp_path / "out")
    first = spec_of(settings, FILES)
    assert find_newest(first) is None and not (tmp_path / "out").exists()
    open_run(first)
    assert find_newest(first) == first
    for number in (2, 10):
        open_run(replace(first, number=number))
    open_edit_run(settings.model_copy(update={"run_id": f"{first.name}-x"}), FILES)
    newest = find_newest(first)
    assert newest is not None and newest.name == f"{first.name}-10" and newest.series == first.name
    named = spec_of(settings.model_copy(update={"run_id": "mine"}), FILES)
    assert find_newest(named) is None
    open_run(named)
    assert find_newest(named) == named


def a_plan(store: Store, *skipped: SkippedBy) -> None:
    writer = PlanWriter(store, most=8, workers=1)
    left_out = LeftOut(sum(entry.records for entry in skipped), skipped)
    writer.finish(schema.REJECTS.empty_table(), left_out)


OURS = {"policy": "p/1", "editor": "e/1", "judge": None}


@pytest.fixture
def planned(tmp_path: Path) -> Store:
    store = open_edit_run(config(tmp_path, run_id="mine"), FILES)
    a_plan(store, SkippedBy(OURS, 7))
    return store


def test_the_models_of_a_run_are_noted_once_and_may_come_again(planned: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: check_identities(planned, dict(OURS)), range(8)))
    assert json.loads(planned.get("models.json") or b"") == OURS


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"policy": "p/2"}, "policy was 'p/1', is now 'p/2';"),
        ({"judge": "j/1"}, "judge was None, is now 'j/1';"),
        (
            {"policy": "p/2", "editor": "e/2"},
            "policy was 'p/1', is now 'p/2', editor was 'e/1', is now 'e/2';",
        ),
    ],
)
def test_a_run_does_not_go_on_with_another_model(tmp_path: Path, changed: Any, words: str) -> None:
    store = open_edit_run(config(tmp_path, run_id="mine"), FILES)
    a_plan(store)
    check_identities(store, OURS)
    with pytest.raises(RunConflict) as error:
        check_identities(store, OURS | changed)
    assert f"{tmp_path}/mine: this run was begun with another model: {words}" in str(error.value)
    assert "restore the model, or choose another run_id" in str(error.value)
    check_identities(store, OURS)


def test_what_another_model_has_done_is_not_passed_for_this_ones_work(tmp_path: Path) -> None:
    store = open_edit_run(config(tmp_path, run_id="mine"), FILES)
    older = OURS | {"editor": "e/0"}
    a_plan(store, SkippedBy(OURS, 4_000), SkippedBy(older, 1_234))
    with pytest.raises(RunConflict) as error:
        check_identities(store, OURS)
    assert str(error.value) == (
        f"{tmp_path}/mine: 1,234 records were left out because an earlier run has them, but from another "
        "model: editor was 'e/0', is now 'e/1'; to make them anew set output.skip_done: false and choose "
        "another run_id, or another output.uri; or restore the model"
    )
    assert not store.exists("models.json"), "with the model restored, nothing stands in the way"
    with pytest.raises(RunConflict, match="4,000 records were left out"):
        check_identities(store, older)


def test_damaged_documents_are_named_when_models_are_checked(planned: Store) -> None:
    planned.put("models.json", b"{")
    with pytest.raises(StoreError, match=r"mine/models\.json: is damaged"):
        check_identities(planned, OURS)
    planned.put(layout.PLAN, b"{")
    with pytest.raises(StoreError, match=r"plan/plan\.json: is damaged"):
        check_identities(planned, OURS)
