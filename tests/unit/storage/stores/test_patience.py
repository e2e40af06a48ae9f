"""For how long a store's passing faults are waited out: one clock for all who share it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from obstore import exceptions as oe

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores import faults
from mira_batch.storage.stores.credentials import Identity
from mira_batch.storage.stores.faults import Patience
from mira_batch.storage.stores.objects import open_store
from tests.support.servers.fault_proxy import fault_proxy
from tests.support.servers.s3 import S3Server
from tests.unit.storage.stores.environments import Environment


class Service:
    """Fails until a moment; counts who asks."""

    def __init__(self, back: float = float("inf"), error: Callable[[], Exception] = ConnectionError) -> None:
        self.calls = 0
        self.back = time.monotonic() + back
        self.error = error

    def ask(self) -> str:
        self.calls += 1
        if time.monotonic() < self.back:
            raise self.error()
        return "here"


@pytest.mark.parametrize("seconds", [0.3, 0.7, 1.5])
def test_the_last_try_begins_when_the_time_is_over_and_not_before(seconds: float) -> None:
    """Whenever within its patience the service comes back, it is found."""
    assert Patience(seconds).call(Service(back=seconds * 0.99).ask) == "here"


def test_a_call_after_another_gave_up_does_not_wait_once_more() -> None:
    patience, gone = Patience(0.5), Service()
    with pytest.raises(ConnectionError):
        patience.call(gone.ask)
    before = gone.calls
    for number in range(1, 4):
        with pytest.raises(ConnectionError):
            patience.call(gone.ask)
        assert gone.calls == before + number, "one try each"


def test_any_answer_sets_the_clock_back() -> None:
    for error in (None, FileNotFoundError):
        patience, gone = Patience(0.5), Service()
        with pytest.raises(ConnectionError):
            patience.call(gone.ask)
        if error is None:
            patience.call(lambda: "an answer")
        else:
            with pytest.raises(error):
                patience.call(Service(error=error).ask)
        assert patience.call(Service(back=0.4).ask) == "here"


def test_an_old_failure_counts_no_longer() -> None:
    patience = Patience(0.3)
    with pytest.raises(ConnectionError):
        patience.call(Service().ask)
    time.sleep(0.35)
    assert patience.call(Service(back=0.2).ask) == "here"


def no_identity() -> Exception:
    """What obstore raises where no credentials are set, and the machine gives none."""
    address = "http://169.254.169.254/latest/api/token"
    return oe.GenericError(f"Generic S3 error: Error performing PUT {address} in 1ms - HTTP error: error")


def test_credentials_that_nobody_gives_are_waited_for_once_a_store_has_let_anyone_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faults, "_UNPROVEN", 0.2)
    identity = Identity()
    for _ in range(2):
        with pytest.raises(oe.GenericError):
            Patience(500, identity=identity).call(Service(error=no_identity).ask)
    assert Patience(500, identity=identity).call(Service(back=0.1, error=no_identity).ask) == "here"
    busy = oe.GenericError(f"{no_identity()} status code: 429 Too Many Requests")
    assert Patience(5, identity=identity).call(Service(back=0.5, error=lambda: busy).ask) == "here"
    for error, back in ((ValueError, 0.0), (FileNotFoundError, 5.0), (ConnectionError, 0.3)):
        identity = Identity()
        patience = Patience(5, identity=identity)
        with suppress(FileNotFoundError):  # a call that fails so had credentials, too
            patience.call(Service(back=back, error=error).ask)
        assert Patience(5, identity=identity).call(Service(back=0.5, error=no_identity).ask) == "here"


def test_what_ends_does_not_wait() -> None:
    patience, gone = Patience(500), Service()
    patience.hurry()
    for _ in range(3):
        with pytest.raises(ConnectionError):
            patience.call(gone.ask)
    assert gone.calls == 1, "and who failed then is not asked again"
    patience = Patience(500, stopped=lambda: gone.calls > 3)
    with pytest.raises(ConnectionError):
        patience.call(gone.ask)
    assert gone.calls == 4


@pytest.mark.s3
@pytest.mark.parametrize("fault", ["unavailable", "reset"])
def test_a_store_that_is_gone_is_waited_for_once(fault: Any, s3: S3Server, environment: Environment) -> None:
    environment(s3.environment)
    with fault_proxy(s3.endpoint) as proxy:
        config = StorageConfig(endpoint_url=proxy.endpoint, retry_seconds=1, timeout_seconds=5)
        store = open_store(f"s3://{s3.bucket}/gone-{fault}", config)
        rule = proxy.add(fault)
        with pytest.raises(StoreError):
            store.get("a")
        assert rule.count > 1
        before = rule.count
        for act in (lambda: store.create("a", b""), lambda: store.put("a", b""), lambda: store.exists("a")):
            with pytest.raises(StoreError):
                act()
        assert rule.count == before + 3
        store.hurry()
        for _ in range(3):
            with pytest.raises(StoreError):
                store.put("a", b"")
        assert rule.count == before + 4
