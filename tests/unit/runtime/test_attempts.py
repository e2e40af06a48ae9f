"""The attempt log: what isolates a shard, which tries count, and when a record is given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import EngineDead
from mira_batch.core.types import ErrorKind, Failure
from mira_batch.runtime.attempts import (
    MOST_IN_DOUBT,
    MOST_NODES,
    AttemptLog,
    ProcessEnd,
    Session,
    know_nothing,
)
from mira_batch.runtime.loss import Loss
from mira_batch.storage.run.steplog import ShardLog
from mira_batch.storage.stores.objects import Store, open_store

CRASH, TIMEOUT = ErrorKind.worker_crash, ErrorKind.step_timeout


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "run"), StorageConfig())


def opened(store: Store, session: str = "a1", process: str = "", ends: dict[str, ProcessEnd] | None = None):
    def explain(process: str) -> ProcessEnd:
        return (ends or {}).get(process, know_nothing(process))

    tries = AttemptLog(store, 3, Session(session, process, explain))
    tries.open(ShardLog(store, 3).open())
    return tries


def die(store: Store, *steps: int, work: str = "w") -> None:
    """A worker begins the record once for each of these steps, and dies."""
    for step in steps:
        tries = opened(store)
        assert tries.find_verdict(work, step) is None
        tries.begin(work, step)


def find(store: Store, step: int = 0, work: str = "w") -> Failure | None:
    verdict = opened(store).find_verdict(work, step)
    return verdict.failure if verdict else None


def test_the_second_attempt_of_a_session_is_isolated(store: Store) -> None:
    assert not opened(store).isolated
    assert opened(store).isolated and opened(store).isolated


def test_another_call_of_the_driver_starts_without_suspicion(store: Store) -> None:
    die(store, 0, 0)
    assert find(store) is not None
    later = opened(store, "b2")
    assert not later.isolated and later.find_verdict("w", 0) is None


def test_two_tries_without_an_end_and_a_record_is_given_up(store: Store) -> None:
    die(store, 0, 0, work="bad")
    found = find(store, 0, "bad")
    assert found == Failure(
        CRASH, "the worker process died 2 times while this record was the only one running"
    )
    assert find(store, 0, "good") is None


def test_tries_that_ended_at_different_steps_are_progress(store: Store) -> None:
    """Whoever kills the workers, a record that gets a step further each time is not what kills them."""
    die(store, 0, 1, 2, 3)
    assert find(store, 4) is None
    found = find(store, 3)
    assert found is not None and "2 times at step 3 while" in found.message


def test_only_the_tries_at_the_last_step_count(store: Store) -> None:
    die(store, 0, 2, 5)  # the first ended at step 2, the second at 5
    assert find(store, 7) is None
    found = find(store, 5)
    assert found is not None and "died 2 times at step 5" in found.message


def test_tries_that_ended_count_for_nothing_nor_what_was_before_them(store: Store) -> None:
    opened(store)
    for _ in range(3):
        tries = opened(store)
        assert tries.find_verdict("w", 0) is None
        tries.begin("w", 0)
        again = opened(store)
        again.end("w", again.begin("w", 0))
    assert find(store) is None


def test_tries_that_the_run_lets_go_of_count_for_nothing(store: Store) -> None:
    """The run is to end, and its process is ended before the step is."""
    for _ in range(3):
        tries = opened(store)
        tries.begin("w", 0)
        tries.let_go()
    later = opened(store)
    assert not later.isolated and find(store) is None


def test_a_try_that_was_let_go_may_come_to_its_end_all_the_same(store: Store) -> None:
    tries = opened(store)
    number = tries.begin("w", 0)
    tries.let_go()
    tries.end("w", number)
    tries.explain("w", number, EngineDead("out of memory", CRASH))
    die(store, 0)
    assert opened(store).is_suspect("w"), "the next try of that number has neither end nor cause yet"
    assert find(store) is None


def test_a_process_that_says_whose_fault_it_is_needs_one_try(store: Store) -> None:
    tries = opened(store)
    tries.explain("w", tries.begin("w", 2), EngineDead("an editor call took too long", TIMEOUT))
    assert find(store, 2) == Failure(TIMEOUT, "an editor call took too long")


def test_the_cause_is_named_where_it_is_known(store: Store) -> None:
    tries = opened(store)
    tries.explain("w", tries.begin("w", 0), EngineDead("the model ended its thread"))
    opened(store, process="p2").begin("w", 0)
    verdict = opened(store, ends={"p2": ProcessEnd(failure=Failure(CRASH, "exit code 3"))}).find_verdict(
        "w", 0
    )
    assert verdict is not None and verdict.failure.kind is CRASH
    assert verdict.failure.message.endswith("only one running: the model ended its thread; exit code 3")


def test_memory_that_others_may_have_leaked_is_no_crash(store: Store) -> None:
    """A suspicion, which takes many tries to be believed, and has its own kind."""
    short = EngineDead("the editor ran out of memory", suspicion=ErrorKind.editor_out_of_memory)
    for _ in range(MOST_IN_DOUBT):
        tries = opened(store)
        assert tries.find_verdict("w", 0) is None
        tries.explain("w", tries.begin("w", 0), short)
    assert find(store) == Failure(
        ErrorKind.editor_out_of_memory, f"{MOST_IN_DOUBT} times: the editor ran out of memory"
    )
    assert find(store, 1) is None, "it got further"


def test_a_suspicion_and_a_death_without_a_word_are_not_two_of_a_kind(store: Store) -> None:
    tries = opened(store)
    short = EngineDead("out of memory", suspicion=ErrorKind.editor_out_of_memory)
    tries.explain("w", tries.begin("w", 0), short)
    opened(store).begin("w", 0)
    assert find(store) is None
    opened(store).begin("w", 0)
    found = find(store)
    assert found is not None and found.kind is CRASH and "died 2 times" in found.message


@pytest.mark.parametrize(("second", "kind"), [(TIMEOUT, TIMEOUT), (CRASH, CRASH), (None, CRASH)])
def test_a_record_whose_process_hung_each_time_is_a_time_out(
    store: Store, second: ErrorKind | None, kind: ErrorKind
) -> None:
    opened(store, process="p1").begin("w", 1)
    opened(store, process="p2").begin("w", 1)
    ends = {"p1": ProcessEnd(failure=Failure(TIMEOUT, "hung"))}
    if second:
        ends["p2"] = ProcessEnd(failure=Failure(second, "gone"))
    verdict = opened(store, ends=ends).find_verdict("w", 1)
    assert verdict is not None and verdict.failure.kind is kind


PREEMPTED, NODE = ProcessEnd(Loss.preempted), ProcessEnd(Loss.node)


def test_a_shard_whose_worker_lost_its_node_to_somebody_else_goes_on_side_by_side(store: Store) -> None:
    for attempt in range(10):
        ends = {f"p{attempt - 1}": PREEMPTED}
        assert not opened(store, process=f"p{attempt}", ends=ends).isolated, "what was learnt is noted"
    assert opened(store).isolated, "the last one died alone"


def test_only_a_shard_that_loses_several_nodes_without_notice_is_isolated(store: Store) -> None:
    ends = {"p": NODE}
    isolated = [opened(store, process="p", ends=ends).isolated for _ in range(MOST_NODES + 2)]
    assert isolated == [False] * (MOST_NODES + 1) + [True]


def test_one_worker_that_died_alone_among_lost_nodes_isolates_its_shard(store: Store) -> None:
    ends = {"p1": NODE, "p3": PREEMPTED}
    for process in ("p1", "p2", "p3"):
        opened(store, process=process, ends=ends)
    assert opened(store, ends=ends).isolated


def test_tries_on_nodes_that_were_taken_away_count_for_nothing(store: Store) -> None:
    opened(store)
    for attempt in range(MOST_IN_DOUBT + 1):
        tries = opened(store, process=f"p{attempt}", ends={f"p{attempt - 1}": PREEMPTED})
        assert tries.find_verdict("w", 1) is None
        tries.begin("w", 1)
    opened(store, process="q").begin("w", 1)
    last = {f"p{MOST_IN_DOUBT}": PREEMPTED}
    assert opened(store, ends=last).find_verdict("w", 1) is None, "the rest is noted"
    opened(store).begin("w", 1)
    found = find(store, 1)
    assert found is not None and "died 2 times at step 1" in found.message


def test_tries_on_nodes_that_died_without_notice_are_a_suspicion(store: Store) -> None:
    for _ in range(MOST_IN_DOUBT):
        tries = opened(store, process="p", ends={"p": NODE})
        assert tries.find_verdict("w", 0) is None
        tries.begin("w", 0)
    verdict = opened(store, ends={"p": NODE}).find_verdict("w", 0)
    assert verdict is not None and verdict.failure == Failure(
        CRASH, f"{MOST_IN_DOUBT} times: its node died without notice, and the worker with it"
    )


def test_a_failed_row_whose_making_was_cut_off_by_a_drain_is_made_with_its_image(store: Store) -> None:
    die(store, 0, 0)
    opened(store, process="p").begin("w", 0, row=True)
    verdict = opened(store, ends={"p": PREEMPTED}).find_verdict("w", 0)
    assert verdict is not None and verdict.readable


def test_a_failed_row_whose_making_kills_too_is_made_without_reading(store: Store) -> None:
    die(store, 0, 0)
    tries = opened(store)
    verdict = tries.find_verdict("w", 0)
    assert verdict is not None and verdict.readable
    number = tries.begin("w", 0, row=True)
    died = opened(store).find_verdict("w", 0)
    assert died is not None and not died.readable and died.failure == verdict.failure
    tries.end("w", number)
    ended = opened(store).find_verdict("w", 0)
    assert ended == verdict, "a row that was made changes nothing of the verdict"


def test_foreign_names_are_no_notes(store: Store) -> None:
    for name in ("state/00003/attempt-zz-1", "state/00003/w/notes.txt", "state/00003/w/0.step"):
        store.create(name, b"x")
    tries = opened(store)
    assert not tries.isolated and tries.find_verdict("w", 0) is None


def test_the_notes_go_with_the_state(store: Store) -> None:
    opened(store)
    opened(store).begin("w", 0)
    ShardLog(store, 3).delete()
    assert not list(store.list("state"))


def test_steps_are_counted_up_to_the_first_gap(store: Store) -> None:
    for step in (0, 1, 3):
        store.create(f"state/00003/w/{step}.step", b"x")
    log = ShardLog(store, 3)
    log.open()
    assert (log.count("w"), log.count("other")) == (2, 0)
