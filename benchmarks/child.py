"""What is measured runs in a process of its own: `python -m benchmarks.child TASK ARGUMENTS RESULT`.

So its peak memory and its CPU time are its own, imports included, and nothing it leaves behind (threads,
caches, a Ray) touches the next figure.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

ROOT = Path(__file__).parents[1]


def in_child(task: str, variables: dict[str, str] | None = None, **arguments: Any) -> dict[str, Any]:
    """Run one of the tasks below in a fresh interpreter; what it returned, with `peak_rss` in bytes.

    `variables` are added to its environment.
    """
    with tempfile.NamedTemporaryFile("r", suffix=".json") as result:
        command = [sys.executable, "-m", "benchmarks.child", task, json.dumps(arguments), result.name]
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        environment["PYTHONPATH"] = str(ROOT)  # Ray's workers import the models of `models.py` from it
        environment |= variables or {}
        child = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            _, errors = child.communicate()
        except BaseException:
            child.terminate()  # it ends its Ray before it goes
            child.wait(timeout=60)
            raise
        if child.returncode:
            raise RuntimeError(f"{task} ended with {child.returncode}:\n{errors[-4000:]}")
        return json.load(result)


def side_by_side(task: str, *jobs: dict[str, Any]) -> list[dict[str, Any]]:
    """The same task at the same time for several sets of arguments, so that they meet the same machine."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        calls = [pool.submit(in_child, task, **job) for job in jobs]
        return [call.result() for call in calls]


def plan(config: dict[str, Any]) -> dict[str, Any]:
    from mira_batch.config.load import load_config
    from mira_batch.launch import make_job
    from mira_batch.runtime import run as runner

    loaded = load_config(config)
    imported = peak_rss()
    started = time.perf_counter()
    with _watch_workers() as worker:
        summary = runner.plan(make_job(loaded))
    took = time.perf_counter() - started
    rows = sum(cause.records for cause in summary.causes.values())
    found = {"wall": took, "records": summary.planned, "rows": rows, "shards": summary.shards}
    return found | {"imported_rss": imported, "worker_rss": max(worker)}


@contextmanager
def _watch_workers() -> Iterator[list[int]]:
    """The resident bytes of the largest of Ray's workers, every half second."""
    seen, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if any(word.startswith("ray::") for word in process.cmdline()):
                        seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def commit_plan(config: dict[str, Any]) -> dict[str, Any]:
    """Plan a run, and leave it as if all its records had ended well: results without images."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mira_batch.config.load import load_config
    from mira_batch.core.errors import RunStopped
    from mira_batch.core.receipts import Receipt, Tally
    from mira_batch.core.stop_request import StopRequest
    from mira_batch.core.types import RunEnd
    from mira_batch.launch import make_job
    from mira_batch.runtime import run as runner
    from mira_batch.runtime.ledger import FOOTER, to_json
    from mira_batch.storage.run.layout import result_key
    from mira_batch.storage.run.planfile import read_plan, read_plan_file
    from mira_batch.storage.schema import RESULTS
    from mira_batch.storage.stores import open_store

    loaded, stop = load_config(config), StopRequest()
    stop.ask(RunEnd.deadline, "it is to be planned only")
    try:
        summary = runner.run(make_job(loaded), stop=stop)
    except RunStopped as early:
        summary = early.summary
    store = open_store(summary.run, loaded.storage)
    plan = read_plan(store)
    assert plan is not None
    for shard in plan.shards():
        source = io.BytesIO(read_plan_file(store, shard.file))
        planned = pq.ParquetFile(source).read_row_group(shard.row_group)
        rows = planned.num_rows
        given = {name: planned[name] for name in ("record_id", "work_id", "instruction")}
        given |= {"status": ["ok"] * rows, "stop_reason": ["policy_stop"] * rows, "cost": [0.0] * rows}
        given["result_digest"] = given["source_digest"] = given["work_id"]
        arrays = [given.get(field.name, pa.nulls(rows, field.type)) for field in RESULTS]
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, RESULTS, compression="zstd", write_page_checksum=True) as writer:
            writer.write_table(pa.table(arrays, schema=RESULTS))
            receipt = Receipt(shard.index, Tally(records=rows, ok=rows, stops={"policy_stop": rows}))
            writer.add_key_value_metadata({FOOTER: to_json(receipt)})
        store.create(result_key(shard.index), sink.getvalue())
    return {"records": summary.planned}


def fold_catalogue(output: str) -> dict[str, Any]:
    """Fold what runs have committed into the next snapshot."""
    from mira_batch.config.shared import StorageConfig
    from mira_batch.storage.catalogue.fold import fold
    from mira_batch.storage.catalogue.pending import find_pending
    from mira_batch.storage.catalogue.place import open_catalogue
    from mira_batch.storage.schema import RESULTS

    def refuse(error: Exception) -> None:
        raise error

    catalogue = open_catalogue(output, "edit", StorageConfig())
    files = sum(len(run.committed) for run in find_pending(catalogue, refuse).runs)
    started = time.perf_counter()
    made = fold(catalogue, RESULTS, refuse)
    return {"wall": time.perf_counter() - started, "rows": made.rows, "files": files}


def run(config: dict[str, Any], step_state: bool = True, profile: bool = False) -> dict[str, Any]:
    """A whole run of any job. Moments are `time.time()`, so that they compare with those of other processes.

    With `step_state=False` an inline run's step log keeps nothing. With `profile` the answer has the seconds
    that Ray took to start, and the pool until the first worker's models were loaded.
    """
    from benchmarks.models import NoLog
    from mira_batch.config.load import load_job_config
    from mira_batch.core.receipts import Progress, RunSummary, WorkerStatus
    from mira_batch.launch import make_job
    from mira_batch.runtime import run as runner
    from mira_batch.runtime import shard

    if not step_state:
        shard.ShardLog = NoLog  # type: ignore[misc]
    commits: list[tuple[float, int]] = []
    cpu_samples: list[tuple[float, float]] = []
    marks: dict[str, float] = {}

    class Watch(Progress):
        def executing(self, summary: RunSummary) -> None:
            marks["executing"], marks["executing_cpu"] = time.time(), time.process_time()

        def heartbeat(self, workers: Sequence[WorkerStatus]) -> None:
            cpu_samples.append((time.time(), _busy_cpu()))

        def committed(self, summary: RunSummary) -> None:
            commits.append((time.time(), summary.committed))

    loaded = load_job_config(config)
    imported = peak_rss()
    started = time.time()
    summary = runner.run(make_job(loaded), Watch(), profile=profile)
    ended, cpu = time.time(), time.process_time() - marks["executing_cpu"]
    if summary.ok < summary.planned:
        raise RuntimeError(f"the run is not whole: {summary}")
    return {
        "started": started,
        "executing": marks["executing"],
        "ended": ended,
        "commits": commits,
        "cpu": cpu,
        "cpu_samples": cpu_samples,
        "steps": summary.steps,
        "cost": summary.cost,
        "records": summary.committed,
        "written": summary.total.written,
        "imported_rss": imported,
        "seconds": dict(summary.tally.usage.seconds),
        "run": summary.run,
        **(_start(Path(summary.run)) if profile else {}),
    }


def _start(run: Path) -> dict[str, float]:
    """From a run's profile, in seconds."""
    events = json.loads((run / "profile.json").read_text())["traceEvents"]
    spans = {event["name"]: event for event in events if event.get("cat") == "driver"}
    loaded = min(event["ts"] + event["dur"] for event in events if event["name"] == "load")
    return {"ray_start": spans["start"]["dur"] / 1e6, "pool_start": (loaded - spans["work"]["ts"]) / 1e6}


def runs(configs: list[dict[str, Any]], workers: int) -> dict[str, Any]:
    """Runs one after the other on one Ray with room for so many workers, so that only its start is shared."""
    from mira_batch.config.shared import WorkersConfig
    from mira_batch.runtime.backends.cluster import ray_session

    with ray_session(WorkersConfig(min=workers)):
        return {"runs": [run(config) for config in configs]}


def call(function: str, **arguments: Any) -> dict[str, Any]:
    """Any other function, named as `module:function`."""
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)(**arguments)


def drive(**arguments: Any) -> dict[str, Any]:
    from benchmarks.driver_run import drive_simulated

    return drive_simulated(**arguments)


def resume(config: dict[str, Any]) -> dict[str, Any]:
    """A run, from its start to its next commit."""
    from mira_batch.config.load import load_config
    from mira_batch.core.errors import RunStopped
    from mira_batch.core.receipts import Progress, RunSummary
    from mira_batch.core.stop_request import StopRequest
    from mira_batch.core.types import RunEnd
    from mira_batch.launch import make_job
    from mira_batch.runtime import run as runner

    stop = StopRequest()
    marks: dict[str, float] = {}

    class Watch(Progress):
        def executing(self, summary: RunSummary) -> None:
            marks["executing"] = time.time()

        def committed(self, summary: RunSummary) -> None:
            stop.ask(RunEnd.interrupted, "measured")

    loaded = load_config(config)
    imported = peak_rss()
    started = time.time()
    try:
        summary = runner.run(make_job(loaded), Watch(), stop)
    except RunStopped as stopped:
        summary = stopped.summary
    return {
        "started": started,
        "executing": marks["executing"],
        "planned": summary.planned,
        "already": summary.already,
        "shards": summary.shards,
        "imported_rss": imported,
    }


def bare(images: list[str], edits: list[int], threads: int) -> dict[str, Any]:
    """Only what can't be left out: decode each record's image, make its edits, encode each result."""
    from mira_batch.models.simulated import paint_mark

    def one(path: str, count: int, record: int) -> None:
        image = Image.open(io.BytesIO(Path(path).read_bytes()))
        image = image.convert("RGB")
        for step in range(count):
            image = paint_mark(image, 1000 * record + step)
            image.save(io.BytesIO(), "PNG", compress_level=1)

    started, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, images, edits, range(len(images))))
    return {"wall": time.perf_counter() - started, "cpu": time.process_time() - cpu, "steps": sum(edits)}


def _busy_cpu() -> float:
    """Seconds for which CPUs of this machine were busy since it started, with whatever ran on it."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system


def peak_rss() -> int:
    """The most memory this process had resident, in bytes.

    On Linux from the process's own high-water mark: `ru_maxrss` starts at what the parent had.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return 1024 * int(next(row.split()[1] for row in status.splitlines() if row.startswith("VmHWM")))


def _leave(*_: object) -> None:
    raise SystemExit(130)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    tasks = (plan, commit_plan, fold_catalogue, run, runs, call, drive, resume, bare)
    by_name = {task.__name__: task for task in tasks}
    found = by_name[sys.argv[1]](**json.loads(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(found | {"peak_rss": peak_rss()}))
