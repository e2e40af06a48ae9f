"""Notes of tries: what makes a shard careful, and when a record is given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.types import ErrorKind, Failure
from mira_batch.runtime.attempts import AttemptLog
from mira_batch.storage.run.steplog import ShardLog
from mira_batch.storage.stores.objects import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "run"), StorageConfig())


def opened(store: Store, session: str = "a1") -> AttemptLog:
    tries = AttemptLog(store, 3, session)
    tries.open(ShardLog(store, 3).open())
    return tries


def test_the_second_attempt_of_a_session_is_careful(store: Store) -> None:
    assert not opened(store).isolated
    assert opened(store).isolated and opened(store).isolated


def test_another_call_of_the_driver_starts_without_suspicion(store: Store) -> None:
    opened(store)
    opened(store).begin("w")
    opened(store).begin("w")
    assert opened(store).find_verdict("w") is not None
    later = opened(store, "b2")
    assert not later.isolated and later.find_verdict("w") is None


def test_two_tries_without_an_end_and_a_record_is_given_up(store: Store) -> None:
    opened(store)
    for left in (1, 0):
        tries = opened(store)
        assert tries.find_verdict("bad") is None, f"{left} more"
        tries.begin("bad")
    verdict = opened(store).find_verdict("bad")
    assert verdict is not None and verdict.kind is ErrorKind.worker_crash and "2 times" in verdict.message
    assert opened(store).find_verdict("good") is None


def test_tries_that_ended_count_for_nothing(store: Store) -> None:
    opened(store)
    for _ in range(5):
        tries = opened(store)
        assert tries.find_verdict("w") is None
        tries.end("w", tries.begin("w"))


def test_who_is_to_blame_is_remembered(store: Store) -> None:
    opened(store)
    tries = opened(store)
    tries.begin("w")
    tries.blame("w", Failure(ErrorKind.step_timeout, "an editor call took too long"))
    assert opened(store).find_verdict("w") == Failure(ErrorKind.step_timeout, "an editor call took too long")


def test_foreign_names_are_no_notes(store: Store) -> None:
    for name in ("state/00003/attempt-zz-1", "state/00003/w/notes.txt", "state/00003/w/0.step"):
        store.create(name, b"x")
    tries = opened(store)
    assert not tries.isolated and tries.find_verdict("w") is None


def test_the_notes_go_with_the_state(store: Store) -> None:
    opened(store)
    opened(store).begin("w")
    ShardLog(store, 3).delete()
    assert not list(store.list("state"))
