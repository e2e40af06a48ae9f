"""An iteration that a killed call has left in its last moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from mira_batch.config.shared import StorageConfig
from mira_batch.core.stop_request import StopRequest
from mira_batch.storage.stores import open_store
from mira_batch.train.iterations import Course
from mira_batch.train.nft.iteration import run_iteration
from mira_batch.train.nft.record import Iteration


def test_latents_go_also_where_the_call_was_killed_after_its_update(tmp_path: Path) -> None:
    store, notes = open_store(str(tmp_path), StorageConfig()), list[str]()
    files = Iteration(store, 0)
    files.put("draw", {"places": [0], "next": 1})
    files.put("rewards", {"used": 2, "seconds": {"samples": 1.0}})
    files.put("update", {"steps": 1, "seconds": {"learn": 2.0}})
    store.create(f"{files.folder}/encoded/ab/abc.safetensors", b"latents")
    course = Course(cast(Any, None), store, cast(Any, None), StopRequest(), notes.append)
    seconds = {"samples": 1.0, "learn": 2.0}
    figures = run_iteration(course, 0)
    assert figures == {"iteration": 1, "used": 2, "steps": 1, "seconds": seconds}
    assert files.read("iteration") == figures
    assert not list(tmp_path.rglob("*.safetensors"))
