"""The store fails: what passes is waited out; what doesn't ends the run with one message."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import boto3
import pytest

from mira_batch import load_config, run
from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.receipts import RunSummary
from mira_batch.storage.run.planfile import read_plan, read_shard
from mira_batch.storage.stores.objects import Store, open_store
from tests.support.runs.disturbed import until
from tests.support.runs.edits import plan_edits
from tests.support.runs.faultruns import RECORDS, Outcome, Place, check_sound, check_whole, started

pytestmark = [pytest.mark.faults, pytest.mark.s3]
RESULTS, STEPS, IMAGES, PLAN = "/results/part-", r"/state/.*\.step", "/images/", "/plan/plan-"
IMPATIENT = {"retry_seconds": 3, "timeout_seconds": 30}
"""A store that answers late, since the machine is busy, is no fault; one that refuses soon is one."""
"""With a store that fails; and yet patient enough with one that answers slowly, on a machine at work."""


@contextmanager
def running(config: BulkEditConfig) -> Iterator[Future[RunSummary]]:
    """A run in a thread; it is over when the body is, what it left in its threads too."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(run, config)
    for thread in threading.enumerate():
        if thread.name.startswith("io_"):  # a request that is tried again while its run has ended
            thread.join(30)


def work_ids(store: Store) -> set[str]:
    plan = read_plan(store)
    assert plan is not None
    return {row["work_id"] for shard in plan.shards() for row in read_shard(store, shard)}


def total(undisturbed: Outcome) -> int:
    return sum(row[3] for row in undisturbed.values())


def test_a_busy_store_is_waited_out(place: Place, undisturbed: Outcome) -> None:
    """Three requests in ten are refused all the time, and for a while every one."""
    storm = place.proxy.add("slow_down", probability=0.3)
    config = place.config(editor=place.counting())
    with running(config) as future:
        place.await_commits(1, future)
        away = place.proxy.add("unavailable")
        until(lambda: away.count > 10)
        place.proxy.remove(away)
        summary = future.result(120)
    assert storm.count > 100
    assert place.edits_begun() == total(undisturbed), "no edit is made again for the store's sake"
    check_whole(place.store(), place.past, undisturbed)
    place.proxy.clear()
    elsewhere = {"output": {"uri": f"{place.uri}/calm"}}
    calm = plan_edits(load_config(place.settings(editor=place.counting()) | elsewhere))
    assert work_ids(open_store(summary.run, place.past)) == work_ids(open_store(calm.run, place.past))


def test_a_run_waits_for_a_store_that_is_away_at_its_start(place: Place, undisturbed: Outcome) -> None:
    place.proxy.down()
    with running(place.config()) as future:
        time.sleep(2)
        place.proxy.up()
        assert future.result(60).complete
    check_whole(place.store(), place.past, undisturbed)


def test_what_breaks_off_is_asked_for_again(place: Place, undisturbed: Outcome) -> None:
    config = place.config(editor=place.counting())
    refused = place.proxy.add("denied", "PUT", RESULTS, after=1)
    with pytest.raises(StoreError, match=RESULTS):
        run(config)
    place.proxy.remove(refused)
    place.proxy.settle()
    lost = place.edits_begun() - place.durable_edits()
    listed = "list-type=2.*prefix=.*state"
    rules = [
        place.proxy.add(fault, "GET", path, times=2)
        for path in (IMAGES, STEPS, PLAN, listed)
        for fault in ("reset", "reset_body", "cut_body")
    ]
    rules += [
        place.proxy.add(fault, method, path, times=1)
        for method, path in (("PUT", STEPS), ("PUT", RESULTS), ("POST", ""))
        for fault in ("reset", "lose")
    ]
    summary = run(config)
    assert [rule.count for rule in rules] == [rule.times for rule in rules]
    assert summary.resumed_steps > 0
    assert place.edits_begun() == total(undisturbed) + lost, "no edit is made again for the store's sake"
    check_whole(place.store(), place.past, undisturbed)


def test_requests_without_an_answer_are_made_again(place: Place, undisturbed: Outcome) -> None:
    rules = [
        place.proxy.add("hang", "HEAD", IMAGES, times=1),
        place.proxy.add("hang", "GET", IMAGES, times=1),
        place.proxy.add("hang", "GET", PLAN, times=1),
        place.proxy.add("hang", "PUT", STEPS, times=2),
        place.proxy.add("hold_answer", "PUT", RESULTS, times=1),
    ]
    config = place.config(editor=place.counting(), storage={"timeout_seconds": 1})
    summary = run(config)
    assert [rule.count for rule in rules] == [rule.times for rule in rules]
    assert place.edits_begun() == total(undisturbed)
    assert summary.ok + summary.failed == RECORDS
    check_whole(place.store(), place.past, undisturbed)


@pytest.mark.parametrize(
    ("fault", "method", "path", "message"),
    [
        ("slow_down", "*", "", "run the same command again when it is back"),
        ("reset", "GET", IMAGES, "run the same command again when it is back"),
        ("expired", "GET", IMAGES, "refused the credentials; check AWS_ACCESS_KEY_ID"),
        ("denied", "PUT", "", "refused the credentials; check .* their rights on this bucket"),
        ("quota", "PUT", "", "the store is full; make room or raise its quota"),
    ],
)
def test_a_store_that_fails_for_good_ends_the_run_and_no_record(
    place: Place, undisturbed: Outcome, fault: Any, method: str, path: str, message: str
) -> None:
    config = place.config(editor=place.counting(), storage=IMPATIENT)
    with running(config) as future:
        place.await_commits(1, future)
        place.proxy.add(fault, method, path)
        with pytest.raises(StoreError, match=message) as error:
            future.result(60)
    assert str(error.value).startswith(f"{place.uri}/") and "\n" not in str(error.value)
    place.proxy.clear()
    place.proxy.settle()
    assert 0 < check_sound(place.store(), place.past, undisturbed) < RECORDS
    lost = place.edits_begun() - place.durable_edits()
    assert run(config).complete
    assert place.edits_begun() == total(undisturbed) + lost
    check_whole(place.store(), place.past, undisturbed)


def test_an_access_key_that_is_deleted_while_the_run_is_on(place: Place, undisturbed: Outcome) -> None:
    iam: Any = boto3.client(
        "iam",
        endpoint_url=place.s3.endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    key = iam.create_access_key(UserName="mira")["AccessKey"]
    secret = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    config = place.config_file(editor=place.counting(0.1))
    with started(config, **secret) as process:
        place.await_commits(1)
        iam.delete_access_key(UserName="mira", AccessKeyId=key["AccessKeyId"])
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2, said
    assert "Traceback" not in said and said.count("\nerror: ") == 1
    last = said.splitlines()[-1]
    assert last.startswith(f"error: {place.uri}/") and "check AWS_ACCESS_KEY_ID" in last, said
    assert key["SecretAccessKey"] not in said
    assert 0 < check_sound(place.store(), place.past, undisturbed) < RECORDS
    assert run(place.config(editor=place.counting(0.1))).complete
    check_whole(place.store(), place.past, undisturbed)
