"""A signal at any moment of the driver's life: exit code 130, one line, no process left behind, nothing lost.

Moments are recognised by what can be seen from outside: libraries that are loaded, processes that are
there, files that are written.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mira_batch import run
from mira_batch.config.edit import BulkEditConfig
from tests.support.models.counted import counted
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import CLI, assert_whole, config_file
from tests.support.runs.drivers import Begin, Driver, drivers

pytestmark = pytest.mark.faults
RECORDS, SHARDS = 12, 6
both = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture
def begin() -> Iterator[Begin]:
    with drivers() as begin:
        yield begin


@pytest.fixture
def job(tmp_path: Path) -> BulkEditConfig:
    """On Ray; its config is `config.yaml`, its editor's log `edits.log`."""
    base = settings(
        make_catalogue(tmp_path / "catalogue", RECORDS),
        tmp_path / "out",
        backend="ray",
        policy={"type": "simulated", "steps": {"exact": {"*": 2}}},
        editor=counted(tmp_path / "edits.log", 0.2, max_batch=1),
        workers={"min": 1, "max": 1, "records_in_flight": 4, "shard_size": 2},
    )
    return config_file(tmp_path, base)[1]


def results(folder: Path) -> int:
    return len(list(folder.glob("out/*/results/*.parquet")))


MOMENTS: dict[str, Callable[[Driver, Path], object]] = {
    "the first imports": lambda driver, _: driver.loads("pydantic_core"),
    "imports": lambda driver, _: driver.loads("pyarrow"),
    "the import of Ray": lambda driver, _: driver.loads("_raylet"),
    "Ray's start": lambda driver, _: driver.find("gcs_server"),
    "its raylet's start": lambda driver, _: driver.find("raylet/raylet"),
    "the pool's start": lambda driver, _: driver.find("ray::Board"),
    "the first worker": lambda driver, _: driver.find("MapWorker"),
    "the first edit": lambda _, folder: (folder / "edits.log").exists(),
    "the first commit": lambda _, folder: results(folder),
    "the last commit": lambda _, folder: results(folder) == SHARDS,
    "the pool's end": lambda driver, folder: results(folder) == SHARDS and not driver.find("MapWorker"),
    "Ray's end": lambda driver, folder: results(folder) == SHARDS and not driver.find("raylet/raylet"),
}


@pytest.mark.ray
@both
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_at_any_moment_of_a_run(
    tmp_path: Path, job: BulkEditConfig, begin: Begin, moment: str, number: signal.Signals
) -> None:
    driver = begin(*CLI, "run", "--config", tmp_path / "config.yaml")
    driver.await_moment(lambda driver: MOMENTS[moment](driver, tmp_path))
    driver.process.send_signal(number)
    check_interrupted(driver)
    assert run(job.model_copy(update={"backend": "inline"})).complete
    [where] = (tmp_path / "out").iterdir()
    assert_whole(str(where), job, RECORDS)


def check_interrupted(driver: Driver) -> None:
    words, _ = driver.process.communicate(timeout=90)
    assert driver.process.returncode == 130, words
    assert sum("interrupted" in line for line in words.splitlines()) == 1, words
    assert not any(sign in words for sign in ("Traceback", "rror", "***", "Exception")), words
    assert driver.find_processes() == {}, words
