"""What is tried of each trajectory, as manifests of the edit job.

states.jsonl    a row for each state, from before the first step to after the last: the policy goes on
laid.jsonl      a row for the end as it was, and one without each step: edits are laid down, nobody is asked
originals/      images that lay embedded in the run's manifest, each once, by their pixels
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mira_batch.config.edit import InputConfig
from mira_batch.config.shared import Columns, StorageConfig
from mira_batch.core.errors import ConfigError
from mira_batch.storage.counterfactual import LAID, STATES, name_drop, name_end, name_state
from mira_batch.storage.manifest import OriginalReader
from mira_batch.storage.run.originals import open_originals
from mira_batch.storage.stores import Store, open_store
from mira_batch.train.columns import list_keys, name_columns
from mira_batch.train.counterfactual.trajectories import Trajectory
from mira_batch.train.record import put_once

_ORIGINALS = "originals"
_AT_ONCE = 64


def list_states(trajectories: Iterable[Trajectory]) -> Iterator[tuple[Trajectory, str, dict[str, Any]]]:
    """Each state that the policy goes on from: its trajectory, its record's name, and the branch."""
    for each in trajectories:
        for steps in range(len(each.edits) + 1):
            yield each, name_state(each.name, steps), {"work_id": each.work_id, "steps": steps}


def list_laid(
    trajectories: Iterable[Trajectory], drops: bool
) -> Iterator[tuple[Trajectory, str, dict[str, Any]]]:
    """Each end that is made anew, as `list_states`: as it was, and with `drops` without each step."""
    for each in trajectories:
        yield each, name_end(each.name), {"work_id": each.work_id, "steps": len(each.edits), "stop": True}
        for step, edits in each.list_drops() if drops else ():
            branch = {"work_id": each.work_id, "steps": step, "edits": list(edits), "stop": True}
            yield each, name_drop(each.name, step), branch


def write_manifests(
    trajectories: Sequence[Trajectory], run: str, store: Store, storage: StorageConfig, drops: bool
) -> dict[str, InputConfig]:
    """Write both manifests; what reads them, by name.

    Args:
        trajectories: that are looked at.
        run: the run's directory.
        store: of the counterfactual.
        storage: how both are reached.
        drops: whether steps are left out.

    Raises:
        ConfigError: a record's metadata have a `branch` of their own.
        RunConflict: other ones are there.
        StoreError: the run can't be read.
    """
    source, originals = open_originals(open_store(run, storage, make=False), storage)
    images = _find_images(trajectories, originals, store)
    columns = _name_columns(trajectories)
    rows = {STATES: list_states(trajectories), LAID: list_laid(trajectories, drops)}
    found = {}
    for name, listed in rows.items():
        lines = (
            json.dumps(
                json.loads(each.metadata)
                | {
                    columns.record_id: record,
                    columns.image: images[each.source],
                    columns.instruction: each.instruction,
                    "branch": branch,
                },
                ensure_ascii=False,
            )
            for each, record, branch in listed
        )
        put_once(store, key := f"{name}.jsonl", "".join(f"{line}\n" for line in lines).encode())
        found[name] = InputConfig(
            manifest=store.locate(key),
            columns=columns,
            branches=run,
            allow=(*source.allowed, store.locate(_ORIGINALS)),
            **source.model_dump(include={"identity", "max_bytes", "max_pixels"}),
        )
    return found


def _find_images(
    trajectories: Sequence[Trajectory], originals: OriginalReader, store: Store
) -> dict[str, str]:
    """Where the original of each source is; embedded ones are put into a folder of the counterfactual."""
    digests = {each.source: each.source_digest for each in trajectories}
    places = {source: source for source in digests if isinstance(originals.find(source), str)}
    embedded = [source for source in digests if source not in places]
    for start in range(0, len(embedded), _AT_ONCE):
        some = embedded[start : start + _AT_ONCE]
        read = originals.read_embedded(some)
        for source in some:
            key = f"{_ORIGINALS}/{digests[source]}"
            if source in read:
                store.create(key, read[source])
            places[source] = store.locate(key)  # of one that is gone, its records fail and say so
    return places


def _name_columns(trajectories: Iterable[Trajectory]) -> Columns:
    taken = list_keys(each.metadata for each in trajectories)
    if "branch" in taken:
        raise ConfigError(
            "run: its records carry a column `branch`, by which states are named; look at a run that doesn't "
            "(input.columns.metadata)"
        )
    return name_columns(taken)
