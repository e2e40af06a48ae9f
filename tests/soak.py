"""`python -m tests.soak [minutes] [seed]`: one disturbed run after another, on Ray and a real S3 server.

In each round a catalogue is run while the store refuses or resets one request in twenty, and every few
seconds something is killed: a worker (or it is stopped, and stays so), the driver (SIGKILL, SIGINT or
SIGTERM, at any moment from its first to its last), its raylet or its GCS; or a second driver takes over. A
driver that can must say in one line why it ended, with the exit code of that, and leave no process behind.
The same command is given until the run is complete. It must then be whole, equal the same run left alone,
and have made again at most one step per record in flight for each kill.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from mira_batch.storage.manifest.listing import list_files
from mira_batch.storage.stores.objects import open_store
from tests.support.models.counted import counted, read_edits
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import CLI, assert_whole, config_file, left_alone, results, until
from tests.support.runs.drivers import Begin, Driver, drivers
from tests.support.runs.edits import edit_run_id
from tests.support.servers.fault_proxy import FaultProxy, fault_proxy
from tests.support.servers.s3 import S3Server, s3_server

RECORDS, WORKERS, IN_FLIGHT = 60, 2, 4
ENDS = {"driver": (-signal.SIGKILL,), "SIGINT": (130,), "SIGTERM": (130,), "raylet": (1, 2), "GCS": (1, 2)}
"""What ends a driver, and its exit code: 2 where Ray was still starting."""
PROCESSES = {"raylet": "raylet/raylet", "GCS": "gcs_server"}
WORKER = {"worker": signal.SIGKILL, "frozen worker": signal.SIGSTOP}
KILLS = ("worker", *WORKER, "takeover", "SIGINT", "SIGTERM", *ENDS)
MOST = 12
"""Kills in a round; after them it may finish."""


def main(arguments: list[str]) -> int:
    minutes = float(arguments[0]) if arguments else 10.0
    seed = int(arguments[1]) if len(arguments) > 1 else random.randrange(1 << 32)
    console, draw, end = Console(), random.Random(seed), time.monotonic() + 60 * minutes
    console.print(f"seed {seed}")
    rounds, made, again, kills = 0, 0, 0, Counter[str]()
    with (
        tempfile.TemporaryDirectory(prefix="mira-batch-soak-") as scratch,
        s3_server(Path(scratch) / "s3") as s3,
        fault_proxy(s3.endpoint) as proxy,
    ):
        os.environ |= s3.environment
        while time.monotonic() < end:
            happened, edits, repeated = one_round(Path(scratch) / f"round-{rounds}", s3, proxy, draw)
            rounds, made, again = rounds + 1, made + edits, again + repeated
            kills += happened
            words = ", ".join(f"{count} {what}" for what, count in sorted(happened.items()))
            console.print(f"round {rounds}: whole; {words}; {edits} edits, {repeated} of them again")
    total = kills.total()
    each = again / max(1, total)
    console.print(f"{rounds} rounds, {total} kills, {made} edits: {again} made again, {each:.2f} a kill")
    return 0


def one_round(
    folder: Path, s3: S3Server, proxy: FaultProxy, draw: random.Random
) -> tuple[Counter[str], int, int]:
    """(kills by kind, edits begun, edits begun again)."""
    manifest = make_catalogue(folder / "catalogue", RECORDS)
    log = folder / "edits"
    file, config = config_file(folder, job(manifest, log, f"s3://{s3.bucket}/{folder.name}", proxy))
    expected = left_alone(config, folder / "alone", log)
    faults = [
        proxy.add(fault, probability=0.025, seed=draw.randrange(1000)) for fault in ("slow_down", "reset")
    ]
    with drivers() as begin:
        happened = disturb(file, log, draw, begin)
    proxy.remove(*faults)
    run = f"{config.output.uri}/{edit_run_id(config, list_files(config.input, config.storage))}"
    assert_whole(run, config, RECORDS)
    assert results(run, config.storage) == expected
    state = list(open_store(run, config.storage).list("state"))
    assert state == [], state
    edits = read_edits(log)
    bound = IN_FLIGHT * sum(1 if what in WORKER else WORKERS for what in happened.elements())
    assert edits.repeated <= bound, (edits.repeated, happened)
    return happened, edits.begun.total(), edits.repeated


def job(manifest: Path, log: Path, output: str, proxy: FaultProxy) -> dict[str, Any]:
    return settings(
        manifest,
        output,
        backend="ray",
        policy={"type": "simulated"},
        editor=counted(log, 0.2, max_batch=2),
        workers={"min": WORKERS, "records_in_flight": IN_FLIGHT, "shard_size": 4},
        limits={"edit_seconds": 5, "policy_seconds": 5},  # who is silent for much longer is ended
        storage={"endpoint_url": proxy.endpoint, "timeout_seconds": 5},
    )


def disturb(file: Path, log: Path, draw: random.Random, begin: Begin) -> Counter[str]:
    """Run the job to its end, whatever happens to it meanwhile; what did."""
    happened: Counter[str] = Counter()
    killed: set[int] = set()
    driver, suffered = begin(*CLI, "run", "--config", file), list[str]()
    # Often so early that it is still starting.
    while (code := ended(driver, draw.choice((draw.uniform(0, 2), draw.uniform(0, 10))))) != 0:
        if code is not None:
            check_end(driver, code, suffered)
            driver, suffered = begin(*CLI, "run", "--config", file), []
        elif happened.total() < MOST and (what := disturbance(driver, file, log, draw, killed, begin)):
            if what[0] is not driver:
                suffered = []
            driver, kind = what
            happened[kind] += 1
            suffered += [kind] if kind in ENDS else []
    return happened


def ended(driver: Driver, seconds: float) -> int | None:
    """Its exit code, if it ends within so many seconds."""
    with suppress(subprocess.TimeoutExpired):
        driver.process.wait(seconds)
    return driver.process.returncode


def check_end(driver: Driver, code: int, suffered: list[str]) -> None:
    """It ended by something that happened to it, said why in one line, and left nothing behind."""
    with suppress(AssertionError):  # its witness has a last word, and ends what others left
        until(lambda: not driver.find_processes(), 15)
    words, left = driver.end(), driver.find_processes()
    assert left == {}, (suffered, left, words)
    assert is_too_busy(code, words) or code in [end for kind in suffered for end in ENDS[kind]], (
        suffered,
        code,
        words,
    )
    closing = [line for line in words.splitlines() if line.startswith(("interrupted", "error: "))]
    early = code == -signal.SIGKILL and not words  # there was no witness yet
    assert len(closing) == 1 or early, (suffered, words)
    assert not any(sign in words for sign in ("Traceback", "***")), (suffered, words)


def is_too_busy(code: int | None, words: str) -> bool:
    """Whether a driver ended since Ray did not start, with all that goes on here."""
    return code == 2 and "Ray did not start on this machine" in words


def disturbance(
    driver: Driver, file: Path, log: Path, draw: random.Random, killed: set[int], begin: Begin
) -> tuple[Driver, str] | None:
    """Kill something; the driver that now runs the job, and what it was. None: nothing was there to kill.

    Of one driver's workers only one is hit: who is hit twice while it runs alone counts as poison.
    """
    kind, process = draw.choice(KILLS), driver.process
    if kind in WORKER:
        pids = read_edits(log).pids
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        if not alive or process.pid in killed:
            return None
        killed.add(process.pid)
        os.kill(draw.choice(alive), WORKER[kind])
    elif kind == "takeover":
        second = begin(*CLI, "run", "--config", file, "--takeover")
        code = ended(driver, 300)  # on a busy machine the second takes long to come
        words = driver.end(1)
        # It may have had a signal before; or it had just begun, and so it is the second one.
        late = code == 2 and "another driver runs this" in words
        early = is_too_busy(code, words)
        assert code in (0, 1, 130) or late or early, (code, "who was taken over ends in order", words)
        return second, kind
    elif kind in PROCESSES:
        pids = driver.find(PROCESSES[kind])
        if not driver.find("ray::") or not pids:
            return None
        os.kill(pids[0], signal.SIGKILL)
    else:
        if kind != "driver" and len(driver.find_processes()) < 2:
            return None  # the interpreter itself is still starting, and hears no signal in order
        process.send_signal(
            {"driver": signal.SIGKILL, "SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM}[kind]
        )
    return driver, kind


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
