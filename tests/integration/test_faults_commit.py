"""The driver is killed before, during and after a commit; the same command goes on."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from mira_batch import load_config, run
from tests.support.runs.faultruns import RECORDS, Outcome, Place, check_sound, check_whole, cli, started
from tests.support.servers.fault_proxy import Rule

pytestmark = [pytest.mark.faults, pytest.mark.s3]
IN_FLIGHT = 8
MOMENTS: dict[str, dict[str, Any]] = {
    "before": {"fault": "hold", "method": "PUT", "path": "/results/part-"},
    "during": {"fault": "hold_answer", "method": "PUT", "path": "/results/part-"},
    # A shard's state is deleted once it is committed. Deletes before it are of the
    # store's check and of the claim under which the run was planned.
    "after": {"fault": "hold", "method": "POST", "path": r"\?delete", "after": 2},
}


def killed(place: Place, config: Path, rule: Rule) -> int:
    """Kill a run when a request is held by the rule; how many of its edits are lost by that."""
    with started(config) as process:
        assert rule.held.wait(120), process.communicate(timeout=1)
        children = {child: child.name() for child in psutil.Process(process.pid).children(recursive=True)}
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    # Ray's agents, which do nothing for a job, take a minute to see that they are alone.
    workers = [child for child, name in children.items() if not name.endswith("Agent")]
    assert psutil.wait_procs(workers, timeout=30)[1] == [], "Ray's processes go with their driver"
    place.proxy.remove(rule)
    place.proxy.settle()
    return place.edits_begun() - place.durable_edits()


def check_resumed(place: Place, undisturbed: Outcome, lost: int) -> None:
    """The resumed run is whole, and made again only what no log held when its driver died."""
    check_whole(place.store(), place.past, undisturbed)
    repeated = place.edits_begun() - sum(row[3] for row in undisturbed.values())
    print(f"{repeated} edits were made again, with {IN_FLIGHT} records in flight")
    assert repeated == lost <= IN_FLIGHT


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_driver_is_killed_at_a_commit(place: Place, undisturbed: Outcome, moment: str) -> None:
    config = place.config_file(editor=place.counting(0.05))
    rule = place.proxy.add(**MOMENTS[moment])
    lost = killed(place, config, rule)
    store = place.store()
    standing = {entry.key: store.get(entry.key) for entry in store.list("results")}
    assert (standing == {}) is (moment == "before")
    assert check_sound(store, place.past, undisturbed) < RECORDS
    assert run(load_config(config)).complete
    check_resumed(place, undisturbed, lost)
    assert all(store.get(key) == data for key, data in standing.items()), "a commit is for ever"
    if moment == "before":
        check_late(place, rule)


def check_late(place: Place, rule: Rule) -> None:
    """The network may hold a request for longer than its sender lives: then it changes nothing."""
    store = place.store()
    standing = {entry.key: store.get(entry.key) for entry in store.list("results")}
    rule.release.set()
    assert rule.done.wait(10)
    place.proxy.settle()
    assert rule.statuses == [412] * rule.count
    assert {entry.key: store.get(entry.key) for entry in store.list("results")} == standing


@pytest.mark.soak
@pytest.mark.ray
@pytest.mark.slow
def test_the_driver_of_a_ray_pool_is_killed_at_a_commit(place: Place, undisturbed: Outcome) -> None:
    workers = {"min": 1, "max": 1, "records_in_flight": IN_FLIGHT, "shard_size": 8}
    config = place.config_file(editor=place.counting(0.05), backend="ray", workers=workers)
    lost = killed(place, config, place.proxy.add(**MOMENTS["during"]))
    check_sound(place.store(), place.past, undisturbed)
    done = cli(config)
    assert done.returncode == 0, done.stderr
    check_resumed(place, undisturbed, lost)
