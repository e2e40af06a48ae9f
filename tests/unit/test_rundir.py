from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.bulk_edit import BulkEditConfig, StorageConfig
from mira_batch.core.errors import RunConflict
from mira_batch.storage.manifest import ManifestFile
from mira_batch.storage.objects import open_store
from mira_batch.storage.rundir import open_run, read_run, run_id_for

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
        name = run_id_for(config(input={"manifest": manifest}), FILES)
        assert name.startswith(start) and len(name) == len(start) + 10
        config(run_id=name)
    assert run_id_for(config(run_id="mine"), FILES) == "mine"


def test_the_name_changes_with_what_the_run_gives_and_with_nothing_else() -> None:
    name = run_id_for(config(), FILES)
    same = [
        config("/elsewhere"),
        config(workers={"max": 7, "shard_size": 3}),
        config(backend="inline"),
        config(storage={"timeout_seconds": 3}),
        config(output={"skip_done": False}),
    ]
    assert {run_id_for(other, FILES) for other in same} == {name}
    others = [
        config(limits={"max_steps": 3}),
        config(output={"format": "webp"}),
        config(output={"step_images": "drop"}),
        config(input={"columns": {"image": "picture"}}),
        config(input={"allow": ["/data"]}),
    ]
    changed = [ManifestFile("/data/shop/manifest.jsonl", "jsonl", "v2")]
    found = {run_id_for(other, FILES) for other in others} | {run_id_for(config(), changed)}
    assert len(found - {name}) == 6


def test_a_run_may_be_opened_again(tmp_path: Path) -> None:
    first = open_run(config(tmp_path), FILES)
    before = (Path(first.uri) / "run.json").read_bytes()
    assert open_run(config(tmp_path, workers={"max": 3}), FILES).uri == first.uri
    assert (Path(first.uri) / "run.json").read_bytes() == before
    about = read_run(first)
    assert about["run_id"] == first.name and about["manifest"] == [
        {"path": "/data/shop/manifest.jsonl", "version": "v1"}
    ]
    assert BulkEditConfig.model_validate(about["config"]) == config(tmp_path, run_id=first.name)


def test_other_settings_under_the_same_name_are_shown(tmp_path: Path) -> None:
    open_run(config(tmp_path, run_id="mine"), FILES)
    other = config(tmp_path, run_id="mine", limits={"max_steps": 3}, output={"step_images": "drop"})
    with pytest.raises(RunConflict) as error:
        open_run(other, FILES)
    assert str(error.value) == (
        f"{tmp_path}/mine: this run was started with other settings:\n"
        "  pixels.limits.max_steps: was 8, now 3\n"
        '  step_images: was "embed", now "drop"\n'
        "choose another run_id (or leave it out), or restore the settings"
    )
    with pytest.raises(RunConflict, match="input.manifest: its files have changed since this run was plan"):
        open_run(config(tmp_path, run_id="mine"), [ManifestFile("/data/shop/manifest.jsonl", "jsonl", "v2")])


def test_drivers_that_start_together_open_one_run(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: open_run(config(tmp_path), FILES), range(8)))
    assert len({store.uri for store in stores}) == 1
    assert json.loads((Path(stores[0].uri) / "run.json").read_text())["run_id"] == stores[0].name


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunConflict, match="holds no run"):
        read_run(open_store(str(tmp_path), StorageConfig()))


def test_run_json_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    store = open_run(config(tmp_path), FILES)
    assert "hush-hush" not in (Path(store.uri) / "run.json").read_text()
