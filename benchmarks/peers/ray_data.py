"""Runs the contenders one after the other on one Ray: our job, and the same work written on Ray Data.

Each dataset is built as Ray Data's guide to batch inference says: images are decoded in tasks, models live in
classes in actor pools with `num_gpus`, batches have the models' size, and `write_parquet` takes the results.
Ray believes in as many GPUs as there are editors.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, TaskPoolStrategy

from benchmarks.child import run
from benchmarks.peers.loop import Lockstep, OneAtATime, Row, Stage, read_image, write_image

POOLS = (4, 3, 2, 2, 1, 1, 1, 1)
"""Actors of each stage: as many stages as the longest record takes edits, of which ever fewer need all."""


@dataclass(frozen=True)
class Hardware:
    """What every contender has: editors, each with a policy beside it."""

    devices: int
    batch: int
    """The editor's largest batch."""
    scratch: str
    """A folder for the locks by which actors share devices."""


Build = Callable[[Dataset, dict[str, Any], Hardware], Dataset]


def lockstep(rows: Dataset, models: dict[str, Any], hardware: Hardware) -> Dataset:
    """(a) A batch as large as the editor's."""
    return _lockstep(rows, models, hardware.devices, hardware.batch)


def wide_lockstep(rows: Dataset, models: dict[str, Any], hardware: Hardware) -> Dataset:
    """(a) with four batches of records in hand, handed to the models in parts of their size."""
    return _lockstep(rows, models, hardware.devices, 4 * hardware.batch)


def _lockstep(rows: Dataset, models: dict[str, Any], devices: int, batch: int) -> Dataset:
    actor: Any = Lockstep  # Ray Data makes one per worker and calls that; its types only know functions
    return rows.map_batches(
        actor,
        fn_constructor_args=(models,),
        batch_size=batch,
        compute=ActorPoolStrategy(size=devices),
        num_gpus=1,
    )


def unrolled(rows: Dataset, models: dict[str, Any], hardware: Hardware) -> Dataset:
    """(b) Stage after stage; their actors share the GPUs in fractions."""
    on_each = -(-sum(POOLS) // hardware.devices)
    actor: Any = Stage
    for size in POOLS:
        rows = rows.map_batches(
            actor,
            fn_constructor_args=(models, hardware.scratch, hardware.devices),
            batch_size=hardware.batch,
            compute=ActorPoolStrategy(size=size),
            num_gpus=1 / on_each,
        )
    return rows


def one_at_a_time(rows: Dataset, models: dict[str, Any], hardware: Hardware) -> Dataset:
    """(c) A record per call."""
    actor: Any = OneAtATime
    return rows.map(
        actor,
        fn_constructor_args=(models,),
        compute=ActorPoolStrategy(size=hardware.devices),
        num_gpus=1,
    )


PEERS: dict[str, Build] = {
    "lockstep": lockstep,
    "wide_lockstep": wide_lockstep,
    "unrolled": unrolled,
    "one_at_a_time": one_at_a_time,
}


def contend(
    ours: dict[str, Any],
    rows: dict[str, list[Row]],
    models: dict[str, dict[str, Any]],
    output: str,
    devices: int,
    batch: int,
) -> dict[str, Any]:
    """Our job and then each peer.

    Args:
        ours: the config of our job.
        rows: each peer's records.
        models: each peer's settings of `NotingPolicy` and `NotingEditor`.
        output: a folder for their files, one in it for each.
        devices: how many editors there are.
        batch: the editor's largest.

    Returns what `child.run` says of our job, and of each peer when it ended.
    """
    ray.init(
        address="local",
        num_cpus=64,  # a count, not a fence: no actor is to wait for another's
        num_gpus=devices,
        include_dashboard=False,
        log_to_driver=False,
    )
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.wait_for_min_actors_s = 120  # start-up is measured for none of them
    cpus = os.cpu_count() or 1
    tasks = TaskPoolStrategy(size=cpus)  # more would be more processes to start than there are CPUs to use
    found: dict[str, Any] = {"ours": run(ours)}
    for name, number in rows.items():
        folder = Path(output) / name
        folder.mkdir(parents=True)
        hardware = Hardware(devices, batch, str(folder))
        # A block per batch, so that the actors share the work evenly up to the end.
        blocks = -(-len(number) // batch)
        dataset = ray.data.from_items(number, override_num_blocks=blocks).map(read_image, compute=tasks)
        dataset = PEERS[name](dataset, models[name], hardware).map(write_image, compute=tasks)
        dataset.write_parquet(str(folder / "results"), concurrency=cpus)
        found[name] = {"ended": time.time()}
    return found
