"""The config of each call of a run, where it is another than that of the call before."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from mira_batch.core.version import __version__, name_versions
from mira_batch.storage.run.layout import RUN, RunSpec, read_document, read_run
from mira_batch.storage.stores import Store

CALLS = "calls"
_CALL = re.compile(r"calls/(\d{5,})\.json")


def note_call(store: Store, spec: RunSpec) -> None:
    """Write down the config of this call, where it is another than that of the last: what may change from
    call to call (workers, limits of time, prices) is not what the run was begun with.

    Args:
        store: the run's directory.
        spec: the run as it is called now.

    Raises:
        StoreError: the store can't be used, or the last call's document is damaged.
    """
    config = json.loads(json.dumps({**spec.config, "run_id": spec.name}))
    while True:
        number, last = _read_last_call(store)
        if last.get("config") == config:
            return
        document = {
            "mira_batch": __version__,
            "called": datetime.now(UTC).isoformat(),
            "versions": name_versions(),
            "config": config,
        }
        if store.create(_call_key(number + 1), json.dumps(document, indent=2).encode()):
            return  # else another driver was called at the same moment


def read_last_config(store: Store) -> dict[str, Any]:
    """The config of a run's last call, as JSON data.

    Args:
        store: the run's directory.

    Raises:
        RunConflict: there is no run.
        StoreError: the store can't be used, or a document of the run is damaged.
    """
    number, last = _read_last_call(store)
    return last["config"] if number else read_run(store)["config"]


def _read_last_call(store: Store) -> tuple[int, dict[str, Any]]:
    """The number of the last call that had a config of its own, and its document; that of the run with 0."""
    numbers = [int(call[1]) for entry in store.list(CALLS) if (call := _CALL.fullmatch(entry.key))]
    number = max(numbers, default=0)
    return number, read_document(store, _call_key(number) if number else RUN, "config") or {}


def _call_key(number: int) -> str:
    return f"{CALLS}/{number:05d}.json"
