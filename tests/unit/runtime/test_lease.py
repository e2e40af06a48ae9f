"""Who may run: claims that live, claims that are dead, and drivers that come in the same moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunConflict
from mira_batch.runtime.lease import Claim, Pace, is_alive, lease, read_claim
from mira_batch.storage.run.layout import LEASE
from mira_batch.storage.stores.objects import Store, open_store

PACE = Pace(beat=0.1, stale=1.0)
PATIENT = Pace(beat=0.1, stale=60.0)
"""For tests in which nobody is to wait until a claim is stale."""
AWAY = Claim("beef", "far-away", 4242, "another machine", "2026-01-01T06:00:00", "2026-01-01T07:00:00")


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "run"), StorageConfig())


def write(store: Store, claim: Claim) -> None:
    store.put(LEASE, json.dumps(asdict(claim)).encode())


def standing(store: Store) -> Claim:
    claim = read_claim(store)
    assert claim is not None
    return claim


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def ignore(_: str) -> None:
    pass


def unexpected(words: str) -> None:
    raise AssertionError(words)


@contextmanager
def alive_away(store: Store, claim: Claim) -> Iterator[None]:
    """A driver on another machine that renews this claim."""
    ended = threading.Event()

    def beat() -> None:
        beats = 0
        while not ended.wait(0.05):
            beats += 1
            write(store, replace(claim, beats=beats))

    write(store, claim)
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_claim_stands_while_its_holder_runs_and_is_renewed(store: Store) -> None:
    with lease(store, unexpected, unexpected, pace=PACE):
        first = standing(store)
        assert (first.pid, first.beats) == (os.getpid(), 0)
        until(lambda: standing(store).beats >= 2)
        assert standing(store).holder == first.holder
    assert read_claim(store) is None


def test_the_claim_is_given_up_when_the_run_fails(local: Store) -> None:
    with pytest.raises(ValueError, match="the run's"), lease(local, ignore, ignore, pace=PACE):
        raise ValueError("the run's")
    assert read_claim(local) is None


def test_a_claim_that_moves_is_refused_and_its_holder_named(store: Store) -> None:
    notes: list[str] = []
    with (
        alive_away(store, AWAY),
        pytest.raises(RunConflict) as refused,
        lease(store, unexpected, notes.append, takeover=False, pace=PATIENT),
    ):
        raise AssertionError("two drivers at once")
    words = str(refused.value)
    assert store.uri in words and "--takeover" in words
    assert "far-away, process 4242, since 2026-01-01T06:00:00, last heartbeat 2026-01-01T07:00:00" in words
    assert len(notes) == 1 and "waiting for its heartbeat" in notes[0] and "far-away" in notes[0]
    assert standing(store).holder == AWAY.holder, "the refused one leaves it alone"


def test_a_live_driver_of_this_machine_is_refused_too(local: Store) -> None:
    with (
        lease(local, unexpected, ignore, pace=PACE),
        pytest.raises(RunConflict, match=rf"process {os.getpid()},.*\. Let it work, or stop it$"),
        lease(local, unexpected, ignore, pace=PATIENT),
    ):
        raise AssertionError("two drivers at once")


def test_a_claim_from_another_machine_that_stands_still_goes_stale(store: Store) -> None:
    write(store, AWAY)
    notes: list[str] = []
    started = time.monotonic()
    with lease(store, unexpected, notes.append, pace=PACE):
        assert time.monotonic() - started >= PACE.stale, "its holder may only be slow"
        assert standing(store).pid == os.getpid()
    assert "waiting" in notes[0] and notes[1].startswith("taking the run over from far-away, process 4242")


def test_a_killed_driver_of_this_machine_is_followed_at_once(store: Store) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with lease(store, ignore, ignore, pace=PACE):
        here = standing(store)
    write(store, replace(here, holder="dead", pid=process.pid))
    notes: list[str] = []
    with lease(store, unexpected, notes.append, pace=PATIENT):
        assert standing(store).pid == os.getpid()
    assert len(notes) == 1 and notes[0].startswith("taking the run over from")


def test_the_same_process_id_on_another_machine_proves_nothing(local: Store) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    claim = replace(AWAY, pid=process.pid)
    with alive_away(local, claim):
        assert is_alive(local, claim, ignore, PATIENT)


def test_who_waits_is_let_in_when_the_other_ends(local: Store) -> None:
    write(local, AWAY)
    leaving = threading.Timer(0.3, local.delete, ([LEASE],))
    leaving.start()
    with lease(local, unexpected, ignore, pace=PATIENT):
        assert standing(local).pid == os.getpid()
    leaving.join()


def test_a_live_claim_is_taken_over_when_asked_and_its_holder_hears_of_it(store: Store) -> None:
    lost: list[str] = []
    with lease(store, lost.append, unexpected, pace=PACE):
        first = standing(store)
        with lease(store, unexpected, ignore, takeover=True, pace=PATIENT):
            second = standing(store)
            assert second.holder != first.holder
            until(lambda: lost)
            assert lost == [str(replace(second, beats=0))] and f"process {os.getpid()}" in lost[0]
        assert read_claim(store) is None
    assert len(lost) == 1, "it is said once"


def test_who_lost_the_run_leaves_the_other_s_claim_alone(store: Store) -> None:
    lost: list[str] = []
    with lease(store, lost.append, ignore, pace=PACE):
        write(store, AWAY)
        until(lambda: lost)
    assert standing(store) == AWAY


def test_a_claim_that_was_deleted_is_written_again(store: Store) -> None:
    with lease(store, unexpected, unexpected, pace=PACE):
        first = standing(store)
        store.delete([LEASE])
        until(lambda: read_claim(store))
        assert standing(store).holder == first.holder
    assert read_claim(store) is None


def test_a_hold_is_unbroken_as_long_as_nobody_else_can_have_had_it(store: Store) -> None:
    with lease(store, unexpected, unexpected, pace=PACE) as hold:
        until(lambda: standing(store).beats >= 2)
        assert hold.is_unbroken()
        store.delete([LEASE])  # as somebody who took it over, and has ended in order
        until(lambda: read_claim(store))
        assert not hold.is_unbroken(), "whoever was there has read what is not known here, or written it"


def test_who_is_replaced_asks_before_the_next_heartbeat(local: Store) -> None:
    with lease(local, ignore, ignore, pace=Pace(beat=60.0, stale=60.0)) as hold:
        assert hold.is_unbroken()
        write(local, AWAY)
        assert not hold.is_unbroken()


def test_a_heartbeat_that_took_too_long_may_have_replaced_another_claim(
    local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was gone for so long that another driver has come between its read and its write."""
    put, beats = local.put, list[float]()

    def late(key: str, data: bytes) -> None:
        if not beats:
            write_first(AWAY)
            time.sleep(2 * quick.stale)
        put(key, data)
        beats.append(time.monotonic())

    def write_first(claim: Claim) -> None:
        put(LEASE, json.dumps(asdict(claim)).encode())

    quick = Pace(beat=0.05, stale=0.5)
    with lease(local, unexpected, unexpected, pace=quick) as hold:
        monkeypatch.setattr(local, "put", late)
        until(lambda: len(beats) > 2)
        assert standing(local).pid == os.getpid() and not hold.is_unbroken()


@pytest.mark.parametrize("junk", [b"", b"{", b"[1]", b'{"holder": "x"}', b"\xff\xfe"])
def test_a_claim_that_cannot_be_read_counts_as_none(local: Store, junk: bytes) -> None:
    local.put(LEASE, junk)
    assert read_claim(local) is None
    with lease(local, unexpected, unexpected, pace=PATIENT):
        assert standing(local).pid == os.getpid()


@pytest.mark.parametrize("drivers", [2, 5])
def test_of_those_that_take_a_dead_claim_over_at_once_exactly_one_remains(store: Store, drivers: int) -> None:
    """All see the claim dead in the same moment and write theirs; each learns whose came last."""
    start, end = threading.Barrier(drivers), threading.Event()
    lost: list[int] = []
    inside: list[int] = []

    def driver(number: int) -> None:
        start.wait()
        with lease(store, lambda _: lost.append(number), ignore, takeover=True, pace=PACE):
            inside.append(number)
            end.wait(300)

    write(store, AWAY)
    threads = [threading.Thread(target=driver, args=(number,)) for number in range(drivers)]
    for thread in threads:
        thread.start()
    until(lambda: len(inside) == drivers and len(lost) == drivers - 1)
    holder = standing(store).holder
    time.sleep(4 * PACE.beat)
    assert len(lost) == len(set(lost)) == drivers - 1, "one remains"
    assert standing(store).holder == holder
    end.set()
    for thread in threads:
        thread.join()
    assert read_claim(store) is None


def test_a_store_that_fails_for_a_while_does_not_end_the_claim(tmp_path: Path, local: Store) -> None:
    run, aside = tmp_path / "run", tmp_path / "aside"
    with lease(local, unexpected, unexpected, pace=PACE):
        first = standing(local)
        run.rename(aside)
        run.write_text("in the way")
        time.sleep(4 * PACE.beat)
        run.unlink()
        aside.rename(run)
        beats = standing(local).beats
        until(lambda: standing(local).beats > beats)
        assert standing(local).holder == first.holder
    with lease(local, unexpected, unexpected, pace=PACE):
        run.rename(aside)
        run.write_text("in the way")
