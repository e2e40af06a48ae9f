"""Several trajectories of each record in one run: seeded apart, judged apart, and never taken for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mira_batch import load_config, read_catalogue, read_outputs, run
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.core.identity import rollout_work_id
from mira_batch.core.receipts import RunSummary
from mira_batch.storage.manifest import ManifestImages
from mira_batch.storage.stores import open_store
from tests.support.runs.catalogue import copy_sample, make_catalogue, settings
from tests.support.runs.commands import EMBEDDED, Commands
from tests.support.runs.edits import verify_edits
from tests.support.runs.nights import Nights

RECORDS, ROLLOUTS = 6, 4
SIMULATED = {
    "policy": {"type": "simulated", "steps": {"exact": {"*": 2}}},
    "editor": {"type": "simulated"},
    "workers": {"shard_size": 10, "records_in_flight": 8},
    "backend": "inline",
}


def edit(manifest: Path, output: Path, **more: Any) -> RunSummary:
    return run(load_config(settings(manifest, output, **(SIMULATED | more))))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_catalogue(tmp_path_factory.mktemp("rollouts") / "catalogue", RECORDS)


@pytest.fixture(scope="module")
def done(manifest: Path) -> RunSummary:
    return edit(manifest, manifest.parent.parent / "out", rollouts=ROLLOUTS)


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Commands:
    return Commands(Nights(tmp_path / "night"), capfd, **EMBEDDED)


def test_each_record_of_the_sample_has_as_many_trajectories_as_rollouts(tmp_path: Path) -> None:
    done = edit(copy_sample(tmp_path / "sample"), tmp_path / "out", rollouts=4)
    rows = read_outputs(done.run, ["record_id", "work_id", "rollout", "result_digest", "status"]).to_pylist()
    assert done.planned == done.committed == len(rows) == 24 * 4
    assert len({row["work_id"] for row in rows}) == 96
    by_record: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_record.setdefault(row["record_id"], []).append(row)
    assert len(by_record) == 24
    for several in by_record.values():
        assert [row["rollout"] for row in several] == [0, 1, 2, 3]
        assert len({row["result_digest"] for row in several}) == 4
    verdict = verify_edits(open_store(done.run, StorageConfig()))
    assert (verdict.problems, verdict.planned, verdict.committed) == ([], 96, 96)


def test_with_one_rollout_names_of_work_stay_and_with_several_they_follow_from_them(
    manifest: Path, done: RunSummary, tmp_path: Path
) -> None:
    one = edit(manifest, tmp_path / "out")
    rows = read_outputs(one.run, ["record_id", "work_id", "rollout"]).to_pylist()
    assert {row["rollout"] for row in rows} == {None}
    works = {row["record_id"]: row["work_id"] for row in rows}
    assert "rollouts" not in json.loads((Path(one.run) / "run.json").read_text())["settings"]
    for row in read_outputs(done.run, ["record_id", "work_id", "rollout"]).to_pylist():
        assert row["work_id"] == rollout_work_id(works[row["record_id"]], row["rollout"])


def test_the_image_of_a_record_is_read_once_for_rollouts_in_flight_together(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    decode = ManifestImages._decode_marked

    def count(self: ManifestImages, name: str, keep: bool, data: bytes) -> Any:
        read.append(name)
        return decode(self, name, keep, data)

    monkeypatch.setattr(ManifestImages, "_decode_marked", count)
    workers = {"shard_size": 8, "records_in_flight": 8}
    edit(manifest, tmp_path / "out", rollouts=ROLLOUTS, workers=workers)
    assert RECORDS <= len(read) < 2 * RECORDS  # a record whose rollouts are no longer all in hand, again
    read.clear()
    edit(manifest, tmp_path / "all", rollouts=ROLLOUTS, workers={"shard_size": 64, "records_in_flight": 64})
    assert len(read) == RECORDS


def test_images_in_the_manifest_itself_are_known_by_every_rollout(manifest: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    import pyarrow as pa

    for row in rows:
        row["image"] = {"bytes": (manifest.parent / row["image"]).read_bytes(), "path": None}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    done = edit(tmp_path / "m.parquet", tmp_path / "out", rollouts=2)
    assert set(read_outputs(done.run, ["status"])["status"].to_pylist()) == {"ok"}


def test_the_same_command_again_does_nothing_and_the_run_is_no_part_of_the_catalogue(
    manifest: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    first = edit(manifest, output, rollouts=2)
    again = edit(manifest, output, rollouts=2)
    assert (again.run, again.already) == (first.run, 2 * RECORDS)
    with pytest.raises(StoreError, match="several rollouts"):
        read_catalogue(str(output))
    single = edit(manifest, output)
    assert (single.planned, single.skipped) == (RECORDS, 0)  # nothing of it stands for a record
    catalogue = read_catalogue(str(output), ["record_id", "rollout"])
    assert catalogue.num_rows == RECORDS and catalogue["rollout"].null_count == RECORDS
    more = edit(manifest, output, rollouts=3)
    assert (more.planned, more.skipped) == (3 * RECORDS, 0)


def test_a_record_twice_in_the_manifest_is_one_reject_and_a_plan_counts_trajectories(
    manifest: Path, tmp_path: Path, cli: Commands
) -> None:
    twice = manifest.parent / "twice.jsonl"
    twice.write_text(manifest.read_text() + manifest.read_text().splitlines()[0] + "\n")
    given = settings(twice, tmp_path / "out", **SIMULATED, rollouts=2)
    config = tmp_path / "c.json"
    config.write_text(json.dumps(given))
    planned = cli.json("plan", "--config", config)
    made = run(load_config(given))
    assert planned["planned"] == made.planned == 2 * RECORDS
    assert planned["rejected"] == made.rejected == 1


def test_an_evaluation_judges_each_rollout_and_the_report_shows_its_scores(
    cli: Commands, done: RunSummary, tmp_path: Path
) -> None:
    sets = ("--set", "backend=inline", "--judge", "simulated", "--set", "controls.repeats=3")
    found = cli.json("evaluate", done.run, "-o", tmp_path / "scores", *sets)
    said = found["evaluation"]
    assert said["records"] == said["judged"] == RECORDS * ROLLOUTS
    assert said["agreement"]["items"] == 3
    rows = pq.read_table(f"{found['run']}/results").to_pylist()
    assert len({row["record_id"] for row in rows}) == len(rows)
    results = [row for row in rows if row["judged"] == "result"]
    rewards = {(row["of"], row["rollout"]): row["score"] for row in results}
    digests = {(row["of"], row["rollout"]): row["result_digest"] for row in results}
    made = read_outputs(done.run, ["record_id", "rollout", "result_digest"]).to_pylist()
    assert digests == {(row["record_id"], row["rollout"]): row["result_digest"] for row in made}
    assert len(set(rewards.values())) == RECORDS * ROLLOUTS
    shown = cli.json("report", done.run, "--scores", found["run"])
    assert shown["scores"][0]["joined"] == RECORDS * ROLLOUTS
    page = (Path(done.run) / "report.html").read_text()
    assert "rec-00002#rollout-3" in page
    other = cli.json("compare", found["run"], found["run"])
    assert other["paired"] == other["scored"] == RECORDS * ROLLOUTS


def test_who_wants_one_result_of_a_record_is_told(
    cli: Commands, done: RunSummary, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_json = f"{done.run}/run.json"
    refused = [
        ("export", "--run", done.run, tmp_path / "to", "--as", "csv"),
        ("diff", done.run, done.run),
        ("report", done.run, "--review"),
        ("report", done.run, "--against", done.run),
        ("decide", done.run, tmp_path / "d.jsonl"),
        ("show", done.run, "rec-00001"),
        ("show", done.run, "rec-00001", "--rollout", "4"),
        ("nightly", "--config", run_json),
        ("retry", "--config", run_json),
        ("explain", "rec-00001", "--config", run_json),
    ]
    (tmp_path / "d.jsonl").write_text("")
    for words in refused:
        cli.text(*words, code=2)
    row = cli.json("show", done.run, "rec-00001", "--rollout", "2")
    assert (row["record_id"], row["rollout"]) == ("rec-00001", 2)
    played = cli.json("replay", done.run, "rec-00001", "--rollout", "3")
    assert played["verdict"] == "same"


@pytest.mark.parametrize("more", ["select.sample=3", "output.skip_unfinished=true"])
def test_settings_without_effect_on_rollouts_are_refused(manifest: Path, more: str) -> None:
    with pytest.raises(ConfigError, match="rollouts"):
        load_config(settings(manifest, "out", **SIMULATED, rollouts=2), [more])
