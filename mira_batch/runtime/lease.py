"""Who is at work on a run: `<run>/lease.json`, kept alive by a heartbeat.

Two drivers on one run lose nothing (each shard is committed once), but they do the work twice. So the
second is told who runs, and stops. A claim is judged by what can be seen, never by comparing clocks: it
lives if its heartbeat moves while we watch, and is dead if it doesn't, or if it was made on this machine
by a process that is gone. Only create and plain put are used, as every store has them; two drivers that
take a dead claim over in the same moment find out at their next heartbeat which of them wrote last.

A process that is stopped, suspended or cut off for long enough is taken for dead, and may wake. Its heartbeat
goes on then, whether the other is still there or has ended in order: so what stands in the store says nothing
of the time between. What must not be done twice asks the `Hold`.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.storage.run.layout import LEASE
from mira_batch.storage.stores import Store

RUN = "the run"
"""What a claim is on, in words, unless it is said."""
_held: set[str] = set()
"""Holders of this process that live; any other claim of this process outlived its driver."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A driver's claim on a run, as it stands in the store."""

    holder: str
    """A random name: one call of the driver."""
    host: str
    pid: int
    place: str
    """Machine, its boot and its process namespace: where `pid` means something."""
    since: str
    """When the claim was made, ISO 8601 in UTC by the holder's clock."""
    heartbeat: str
    """When it was last renewed."""
    beats: int = 0

    def __str__(self) -> str:
        return f"{self.host}, process {self.pid}, since {self.since}, last heartbeat {self.heartbeat}"


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a claim is renewed, and after how long without it counts as dead, in seconds."""

    beat: float = 5.0
    stale: float = 30.0


class Hold:
    """A claim of ours, since it was made."""

    def __init__(self, store: Store, holder: str) -> None:
        self._store = store
        self._holder = holder
        self._broken = threading.Event()

    def is_unbroken(self) -> bool:
        """Whether nobody else can have held it meanwhile, be it one who has ended by now. A claim that was
        merely deleted can't be told from that.

        Raises:
            StoreError: the store can't be read.
        """
        self.look()
        return not self._broken.is_set()

    def look(self) -> Claim | None:
        """The claim that stands; any other than ours breaks the hold."""
        standing = read_claim(self._store)
        if standing is None or standing.holder != self._holder:
            self.doubt()
        return standing

    def doubt(self) -> None:
        """Somebody else may have held it."""
        self._broken.set()


@contextmanager
def lease(
    store: Store,
    on_lost: Callable[[str], None],
    note: Callable[[str], None],
    takeover: bool | None = None,
    pace: Pace | None = None,
    await_turn: Callable[[], None] | None = None,
    what: str = RUN,
) -> Iterator[Hold]:
    """Hold the claim on a run while the body runs.

    Args:
        store: the run's directory.
        on_lost: told, from a thread, who took the run over.
        note: told what a wait is for.
        takeover: take a live claim over; its holder then ends in order. None: who asks can't be told to.
        pace: how often to renew the claim.
        await_turn: called between looks at a claim that lives, until it has ended; it raises what ends the
            wait. None refuses to wait.
        what: is claimed, in words.

    Raises:
        RunConflict: another driver holds it, and lives.
        StoreError: the store can't be read or written.
    """
    pace = pace or Pace()
    now = _read_clock()
    ours = Claim(secrets.token_hex(8), socket.gethostname(), os.getpid(), _find_place(), now, now)
    _held.add(ours.holder)
    _take(store, ours, note, takeover, pace, await_turn, what)
    ended, hold = threading.Event(), Hold(store, ours.holder)
    beating = threading.Thread(
        target=_beat, args=(store, ours, hold, on_lost, pace, ended), name="lease", daemon=True
    )
    beating.start()
    try:
        yield hold
    except StoreError:
        store.hurry()  # it has been waited for
        raise
    finally:
        _held.discard(ours.holder)
        ended.set()
        beating.join(timeout=pace.beat)
        with suppress(StoreError):  # the work is done; a claim that stays behind goes stale by itself
            standing = read_claim(store)
            if standing is not None and standing.holder == ours.holder:
                store.delete([LEASE])


def read_claim(store: Store) -> Claim | None:
    """The claim that stands, if any; one that can't be read counts as none."""
    try:
        return store.read(LEASE, lambda data: Claim(**json.loads(data)))
    except (ValueError, TypeError):
        return None


def is_alive(
    store: Store, claim: Claim, note: Callable[[str], None], pace: Pace | None = None, what: str = RUN
) -> bool:
    """Whether a claim's holder lives. Takes up to `pace.stale` seconds where it can't be asked.

    Args:
        store: the run's directory.
        claim: the claim that stands.
        note: told what a wait is for.
        pace: how long without a heartbeat is dead.
        what: is claimed, in words.
    """
    pace = pace or Pace()
    left_behind = claim.pid == os.getpid() and claim.holder not in _held
    if claim.place == _find_place() and (left_behind or not _is_running(claim.pid)):
        return False
    note(
        f"another driver is at work on {what}, or was: {claim}; "
        f"waiting for its heartbeat, {pace.stale:g} s at most"
    )
    until = time.monotonic() + pace.stale
    while time.monotonic() < until:
        time.sleep(min(1.0, pace.beat / 2))
        standing = read_claim(store)
        if standing is None:
            return False
        if (standing.holder, standing.beats) != (claim.holder, claim.beats):
            return True
    return False


def _take(
    store: Store,
    ours: Claim,
    note: Callable[[str], None],
    takeover: bool | None,
    pace: Pace,
    await_turn: Callable[[], None] | None,
    what: str,
) -> None:
    waits = note
    while not store.create(LEASE, _dump_claim(ours)):
        standing = read_claim(store)
        if standing is not None and not takeover and is_alive(store, standing, waits, pace, what):
            if await_turn is None:
                fix = "Let it work, or stop it"
                if takeover is not None:
                    fix = (
                        "Let it work, stop it, or take the run over with --takeover, upon which the other "
                        "ends in order"
                    )
                raise RunConflict(
                    f"{store.uri}: another driver runs this: {read_claim(store) or standing}. {fix}"
                )
            await_turn()
            waits = _ignore  # it has been said
            time.sleep(min(1.0, pace.beat / 2))
            continue
        if standing is not None:
            if read_claim(store) is None:  # it has ended in order
                continue
            note(f"taking {what} over from {standing}")
        store.put(LEASE, _dump_claim(ours))
        return


def _ignore(_: str) -> None:
    """A wait of which has been told."""


def _beat(
    store: Store, ours: Claim, hold: Hold, on_lost: Callable[[str], None], pace: Pace, ended: threading.Event
) -> None:
    while not ended.wait(pace.beat):
        try:
            looked = time.monotonic()
            standing = hold.look()
            if standing is not None and standing.holder != ours.holder:
                on_lost(str(standing))
                return
            ours = replace(ours, heartbeat=_read_clock(), beats=ours.beats + 1)
            store.put(LEASE, _dump_claim(ours))
            if time.monotonic() - looked > pace.stale:  # it may have replaced a claim that came in between
                hold.doubt()
        except StoreError:  # a store that is gone ends the run by itself, where there is work to lose
            continue


def _dump_claim(claim: Claim) -> bytes:
    return json.dumps(asdict(claim), indent=2).encode()


def _read_clock() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _find_place() -> str:
    """Names this machine since its last start, and the process namespace (each container has its own)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux
        return socket.gethostname()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
