"""Files of decisions: what is refused, what is kept, what counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError
from mira_batch.storage.catalogue.decided import read_verdicts, read_verdicts_of_runs
from mira_batch.storage.run.decisions import (
    MOST_BYTES,
    REJECT,
    Kept,
    keep_decisions,
    parse_decisions,
    read_kept,
)
from mira_batch.storage.stores import Store, open_store
from tests.unit.report.runs import BLUE, GREEN, Run, row

STORAGE = StorageConfig()
GOOD: dict[str, Any] = {"record_id": "a", "result_digest": "0", "decision": "approve"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of three records."""
    run = Run(tmp_path)
    source = run.image("a")
    run.commit(row("a", source), row("b", source, (BLUE,)), row("c", source, (GREEN, BLUE)))
    return run


def read_rejected(uri: str, storage: StorageConfig) -> set[tuple[str, str]]:
    verdicts = read_verdicts(uri, storage, "select.decisions")
    return {result for result, decision in verdicts.items() if decision == REJECT}


def digests(run: Run) -> dict[str, str]:
    from mira_batch.storage.run.results import read_outputs

    table = read_outputs(run.store.uri, ["record_id", "result_digest"])
    return dict(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))


def keep(run: Run, *said: tuple[str, str], by: str = "ada", digest: str = "") -> Kept:
    now = digests(run)
    rows = [
        GOOD | {"record_id": name, "decision": word, "by": by, "result_digest": digest or now[name]}
        for name, word in said
    ]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return keep_decisions(run.store, STORAGE, data, "d.jsonl")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "Expecting property name"),
        (b"[]", "it is no JSON object"),
        (b'{"record_id": "a", "result_digest": "0"}', "it lacks 'decision'"),
        (json.dumps(GOOD | {"decision": "maybe"}).encode(), "decision is approve or reject"),
        (json.dumps(GOOD | {"decision": ["reject"]}).encode(), "decision is approve or reject"),
        (json.dumps(GOOD | {"record_id": 3}).encode(), "are texts"),
        (json.dumps(GOOD | {"note": {"a": 1}}).encode(), "note is no text"),
        (json.dumps(GOOD | {"note": 0}).encode(), "note is no text"),
        (json.dumps(GOOD | {"note": "x" * 4_001}).encode(), "note has 4,001 characters"),
        (json.dumps(GOOD | {"reason": "ugly", "decision": "reject"}).encode(), "reason is one of colour"),
        (json.dumps(GOOD | {"reason": "edge"}).encode(), "what is approved has no reason"),
        (json.dumps(GOOD | {"at": "yesterday"}).encode(), "at is no time"),
        (json.dumps(GOOD | {"by": "\ud800"}).encode(), "by holds half a character"),
        (json.dumps(GOOD).encode("utf-16-le"), "is not in UTF-8|Expecting"),
        (b'{"record_id": "\xff"}', "is not in UTF-8"),
        (b" " * 70_000 + b"{}", "the line has 70,002 bytes"),
        (b"[" * 60_000, "recursion"),
    ],
)
def test_a_bad_line_is_named(line: bytes, words: str) -> None:
    data = json.dumps(GOOD).encode() + b"\r\n\n" + line + b"\n"
    with pytest.raises(ConfigError, match=rf"^d\.jsonl:3: .*({words})"):
        parse_decisions(data, "d.jsonl")


def test_what_is_too_large_or_empty_is_refused() -> None:
    for data, words in ((b"\n" * (MOST_BYTES + 1), "more than 64 MiB"), (b" \n\n", "holds no decision")):
        with pytest.raises(ConfigError, match=words):
            parse_decisions(data, "d.jsonl")


def test_a_record_that_the_run_has_not_refuses_the_file(run: Run) -> None:
    data = "".join(json.dumps(GOOD | {"record_id": name}) + "\n" for name in ("a", "x", "y")).encode()
    with pytest.raises(ConfigError, match=r"2 decisions are about records.*line 2: 'x'; line 3: 'y'"):
        keep_decisions(run.store, STORAGE, data, "d.jsonl")
    assert read_kept(run.store) == []


def test_files_are_kept_once_and_in_order(run: Run) -> None:
    first = keep(run, ("a", "approve"), ("b", "reject"))
    again = keep(run, ("a", "approve"), ("b", "reject"))
    second = keep(run, ("b", "approve"), ("c", "reject"), by="bob")
    assert (first.known, again.known, second.known) == (False, True, False)
    assert [Path(kept.file).name for kept in (first, again, second)] == ["00001.jsonl"] * 2 + ["00002.jsonl"]
    assert (first.approved, first.rejected, first.all_approved, first.all_rejected) == (1, 1, 1, 1)
    assert (second.approved, second.rejected, second.all_approved, second.all_rejected) == (1, 1, 2, 1)


def test_the_last_word_stands_and_disagreements_are_told(run: Run) -> None:
    assert keep(run, ("a", "reject"), ("b", "reject"), ("a", "approve")).disputes == []
    (dispute,) = keep(run, ("a", "approve"), ("b", "approve"), by="bob").disputes
    assert (dispute.record_id, dispute.said, dispute.stands) == (
        "b", {"ada": "reject", "bob": "approve"}, "approve",
    )  # fmt: skip
    (other,) = keep(run, ("b", "reject"), by="ada").disputes
    assert other.stands == "reject"
    assert read_rejected(run.store.uri, STORAGE) == {("b", digests(run)["b"])}
    assert keep(run, ("b", "reject"), by="bob").disputes == []


def test_decisions_about_another_result_are_stale(run: Run) -> None:
    kept = keep(run, ("a", "reject"), ("b", "approve"), digest="another")
    assert (kept.stale, kept.approved, kept.rejected, kept.all_approved) == (2, 0, 0, 0)
    keep(run, ("a", "reject"))
    keep(run, ("a", "approve"), digest="another", by="bob")
    keep(run, ("a", "reject"), digest="a third", by="bob")
    assert read_rejected(f"{run.store.uri}/", STORAGE) == {("a", digests(run)["a"]), ("a", "a third")}


def test_a_run_without_decisions_says_how_it_gets_them(run: Run) -> None:
    with pytest.raises(ConfigError, match="holds no decisions; `mira-batch decide` keeps them in a run"):
        read_rejected(run.store.uri, STORAGE)


def test_kept_decisions_are_read_from_any_store(store: Store, request: pytest.FixtureRequest) -> None:
    remote = store.uri.startswith("s3:")
    storage = StorageConfig(endpoint_url=request.getfixturevalue("s3").endpoint) if remote else STORAGE

    def put(number: int, decision: str) -> None:
        store.create(f"decisions/{number:05d}.jsonl", json.dumps(GOOD | {"decision": decision}).encode())

    store.create("run.json", b"{}")
    with pytest.raises(ConfigError, match="holds no decisions"):
        read_rejected(store.uri, storage)
    put(10, "reject")
    put(9, "approve")
    store.create("decisions/notes.txt", b"not one of them")
    assert read_rejected(store.uri, storage) == {("a", "0")}, "by number, not by the order of names"
    put(100_000, "approve")
    assert read_rejected(store.uri, storage) == set()


def test_where_runs_disagree_about_the_same_pixels_the_rejection_holds(tmp_path: Path) -> None:
    stores = [open_store(str(tmp_path / name), STORAGE) for name in ("early", "late")]
    said = (("approve", "reject", "approve"), ("reject", "approve", "approve"))
    for store, decisions in zip(stores, said, strict=True):
        rows = [GOOD | {"record_id": name, "decision": d} for name, d in zip("abc", decisions, strict=True)]
        store.create("decisions/00001.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    expected = {("a", "0"): "reject", ("b", "0"): "reject", ("c", "0"): "approve"}
    assert dict(read_verdicts_of_runs(stores)) == expected
    assert dict(read_verdicts_of_runs(stores[::-1])) == expected, "in whatever order they are read"
    more = {("a", "0"): "approve"}
    assert dict(read_verdicts_of_runs(stores, more)) == expected | more


def test_a_word_that_comes_back_is_kept_again_unless_it_says_that_it_is_the_old_one(run: Run) -> None:
    digest = digests(run)["a"]

    def say(decision: str, **more: str) -> Kept:
        line = {"record_id": "a", "result_digest": digest, "decision": decision} | more
        return keep_decisions(run.store, STORAGE, json.dumps(line).encode(), "f")

    assert [say(word).all_approved for word in ("approve", "reject", "approve", "approve")] == [1, 0, 1, 1]
    early, late = {"at": "2026-11-26T08:00:00Z"}, {"at": "2026-11-26T09:00:00Z"}
    assert say("approve", **early).all_approved == 1 and say("reject", **late).all_rejected == 1
    again = say("approve", **early)
    assert again.known and again.all_rejected == 1
