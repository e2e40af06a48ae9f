"""Commands in processes of their own, and all that they start: found by a mark that children inherit."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from mira_batch import run
from mira_batch.config.edit import BulkEditConfig
from tests.support.models.counted import counted
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import assert_whole, config_file, until
from tests.support.runs.edits import find_run

_MARK = "MIRA_BATCH_TEST_MARK"


@dataclass(frozen=True)
class Driver:
    """A command in a process of its own."""

    process: subprocess.Popen[bytes]
    output: IO[str]
    mark: str

    def find_processes(self) -> dict[int, str]:
        """What runs of it and of all it started: its command line, by pid."""
        found: dict[int, str] = {}
        for pid in psutil.pids():
            with suppress(psutil.Error, OSError):
                if f"{_MARK}={self.mark}" in Path(f"/proc/{pid}/environ").read_text(errors="replace"):
                    found[pid] = " ".join(psutil.Process(pid).cmdline())
        return found

    def end(self, seconds: float = 90) -> str:
        """What it printed, once it has ended."""
        self.process.wait(seconds)
        self.output.seek(0)
        return self.output.read()

    def read(self) -> str:
        """What it has printed so far."""
        # Not by seeking: the command writes at the same place.
        return os.pread(self.output.fileno(), 1 << 20, 0).decode(errors="replace")

    def find(self, name: str) -> list[int]:
        """Processes with these words in their command line."""
        return [pid for pid, words in self.find_processes().items() if name in words]

    def find_first(self, name: str) -> int:
        """The first of them: beside it may be a child of its own that has not begun its program yet."""
        return min(self.find(name))

    def loads(self, library: str) -> bool:
        """Whether it has mapped such a library."""
        with suppress(OSError):
            return library in Path(f"/proc/{self.process.pid}/maps").read_text()
        return False

    def await_moment(self, come: Callable[[Driver], object], seconds: float = 90) -> None:
        """Wait until it has come, or the command has ended."""
        until(lambda: self.process.poll() is not None or come(self), seconds)


Begin = Callable[..., Driver]


def make_ray_job(folder: Path, records: int, steps: int) -> BulkEditConfig:
    """A job of one worker on Ray. Its config is `config.yaml` in the folder, its editor's log `edits.log`."""
    base = settings(
        make_catalogue(folder / "catalogue", records),
        folder / "out",
        backend="ray",
        policy={"type": "simulated", "steps": {"exact": {"*": steps}}},
        editor=counted(folder / "edits.log", 0.2, max_batch=1),
        workers={"min": 1, "max": 1, "records_in_flight": 4, "shard_size": 2},
    )
    return config_file(folder, base)[1]


def check_goes_on(folder: Path, job: BulkEditConfig, records: int) -> None:
    """The only run in the folder is finished by another call, and then it is whole."""
    assert run(job.model_copy(update={"backend": "inline"})).complete
    assert_whole(find_run(folder / "out").uri, job, records)


@contextmanager
def drivers() -> Iterator[Begin]:
    """Starts commands; nothing that they start outlives the body."""
    begun: list[Driver] = []

    def begin(*command: str | Path, **environment: str) -> Driver:
        mark, output = secrets.token_hex(8), tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by the stack)
        files.enter_context(output)
        hanging_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests that run below nohup ignore it
        try:
            process = subprocess.Popen(
                list(map(str, command)),
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | environment | {_MARK: mark},
                start_new_session=True,
            )
        finally:
            signal.signal(signal.SIGHUP, hanging_up)
        begun.append(Driver(process, output, mark))
        return begun[-1]

    with ExitStack() as files:
        try:
            yield begin
        finally:
            for driver in begun:
                for pid in [driver.process.pid, *driver.find_processes()]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                driver.process.wait()
