"""Files of a run are damaged between a killed driver and the next: what can't be trusted is made anew."""

from __future__ import annotations

import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest
import yaml

from mira_batch import load_config, run
from mira_batch.cli import main
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunConflict
from mira_batch.storage.stores.objects import Store, open_store
from tests.support.runs.catalogue import settings
from tests.support.runs.disturbed import find_below
from tests.support.runs.edits import verify_edits
from tests.support.runs.faultruns import (
    RECORDS,
    Outcome,
    check_sound,
    check_whole,
    cli,
    counting,
    edits_begun,
    outcome,
    started,
)

pytestmark = pytest.mark.faults


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "flipped bit": lambda data, other: flipped(data, len(data) // 2),
    "cut": lambda data, other: data[: len(data) // 2],
    "empty": lambda data, other: b"",
    "of another record": lambda data, other: other,
    "of another version": lambda data, other: re.sub(rb"^mira-batch step \d+", b"mira-batch step 9", data),
}


@dataclass(frozen=True)
class Halted:
    """A run whose driver was killed half-way, or a copy of one."""

    file: Path
    """Its config."""
    log: Path
    """Of its editor."""

    @property
    def config(self) -> BulkEditConfig:
        return load_config(self.file)

    @property
    def folder(self) -> Path:
        return Path(self.config.output.uri) / "halted"

    @property
    def store(self) -> Store:
        return open_store(str(self.folder), StorageConfig())

    def open_steps(self) -> dict[str, list[Path]]:
        """work_id -> the step files of a record whose shard is not committed, in order."""
        done = {path.stem.removeprefix("part-") for path in self.folder.glob("results/*.parquet")}
        found = defaultdict(list)
        for path in find_below(self.folder / "state", ".step"):
            if path.parts[-3] not in done:
                found[path.parts[-2]].append(path)
        return dict(found)


def write_config(folder: Path, manifest: Path, log: Path) -> Path:
    file = folder / "config.yaml"
    config = settings(manifest, folder / "out", run_id="halted", editor=counting(log, 0.08))
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.fixture(scope="module")
def killed(small_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Halted:
    """A run killed with some shards committed and some records well begun."""
    folder = tmp_path_factory.mktemp("killed")
    halted = Halted(write_config(folder, small_catalogue, folder / "edits"), folder / "edits")
    with started(halted.file) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            lengths = [len(steps) for steps in halted.open_steps().values()]
            committed = list(halted.folder.glob("results/*.parquet"))
            if committed and len(lengths) > len(DAMAGES) and max(lengths) > 1:
                break
            time.sleep(0.01)
        process.kill()
        process.wait(10)
    assert list(halted.folder.glob("results/*.parquet")) and len(halted.open_steps()) >= len(DAMAGES)
    return halted


@pytest.fixture
def halted(killed: Halted, small_catalogue: Path, tmp_path: Path) -> Halted:
    """A copy of the killed run, to be damaged."""
    shutil.copytree(killed.folder.parent, tmp_path / "out")
    return Halted(write_config(tmp_path, small_catalogue, killed.log), killed.log)


@pytest.mark.parametrize("where", ["first", "last"])
def test_damaged_steps_are_made_again_and_no_others(halted: Halted, undisturbed: Outcome, where: str) -> None:
    """One step of each record begun is damaged, in one way after the other."""
    records = list(halted.open_steps().values())
    whole = {path: path.read_bytes() for steps in records for path in steps}
    assert len(records) >= len(DAMAGES)
    kept = 0
    neighbours = [*records[1:], records[0]]
    for steps, others, damage in zip(records, neighbours, cycle(DAMAGES.values()), strict=False):
        place = 0 if where == "first" else len(steps) - 1
        steps[place].write_bytes(damage(whole[steps[place]], whole[others[0]]))
        kept += place
    committed = sum(row[3] for row in outcome(str(halted.folder)).values())
    before = edits_begun(halted.log)
    assert run(halted.config).resumed_steps == kept
    made = edits_begun(halted.log) - before
    assert made == sum(row[3] for row in undisturbed.values()) - committed - kept
    check_whole(halted.store, None, undisturbed)


def test_a_cut_result_file_is_named_by_verify_and_made_again_once_removed(
    halted: Halted, undisturbed: Outcome
) -> None:
    whole = next(halted.folder.glob("results/*.parquet")).read_bytes()
    missing = next(
        path
        for path in (halted.folder / f"results/part-{shard:05d}.parquet" for shard in range(RECORDS))
        if not path.exists()
    )
    missing.write_bytes(whole[: len(whole) // 2])
    done = cli(halted.file)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "are in result files that are damaged; `mira-batch verify` names them" in done.stderr
    verdict = verify_edits(halted.store)
    [problem] = verdict.problems
    assert problem.startswith(f"results/{missing.name}: is not whole Parquet")
    assert problem.endswith("keep it, but move it out of the run's directory, and run the job again")
    missing.unlink()
    assert run(halted.config).complete
    check_whole(halted.store, None, undisturbed)


def test_other_settings_under_the_same_run_id_are_refused_and_nothing_is_touched(
    halted: Halted, undisturbed: Outcome
) -> None:
    before = {path: path.read_bytes() for path in halted.folder.rglob("*") if path.is_file()}
    changes = ("limits.max_steps=3", "output.format=webp")
    assert main(["run", "--config", str(halted.file), *(f"--set={change}" for change in changes)]) == 2
    with pytest.raises(RunConflict) as error:
        run(load_config(halted.file, changes))
    assert "pixels.limits.max_steps: was 8, now 3" in str(error.value)
    assert 'pixels.output.format: was "png", now "webp"' in str(error.value)
    assert {path: path.read_bytes() for path in halted.folder.rglob("*") if path.is_file()} == before
    assert 0 < check_sound(halted.store, None, undisturbed) < RECORDS
    logged = sum(map(len, halted.open_steps().values()))
    assert run(halted.config).resumed_steps == logged > 0
    check_whole(halted.store, None, undisturbed)
