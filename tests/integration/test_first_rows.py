"""A quick try: the first rows of a manifest, in a run that says nothing of the others."""

from __future__ import annotations

import json
from pathlib import Path

from mira_batch.core.receipts import Progress
from mira_batch.launch import make_job
from mira_batch.runtime import run as runner
from tests.support.runs.commands import Commands
from tests.support.runs.nights import STEPS, Nights


def count(found: dict[str, dict[str, dict[str, int]]]) -> dict[str, int]:
    return {name: cause["records"] for name, cause in found["causes"].items()}


def test_the_first_rows_are_made_and_are_no_waste(cli: Commands) -> None:
    words = ("--config", cli.config)
    assert count(cli.json("plan", *words, "--first", "5")) == {"new": 5}
    tried = cli.json("run", *words, "--first", "5")
    assert (tried["planned"], tried["ok"], sorted(cli.nights.current())) == (5, 5, list(cli.nights.rows)[:5])
    again = cli.json("run", *words, "--first", "5")
    assert (again["run"], again["already"]) == (tried["run"], 5), "the same command finds it complete"
    whole = cli.json("run", *words)
    assert count(whole) == {"new": 7, "unchanged": 5} and cli.nights.edits == 12 * STEPS


def test_records_beyond_the_first_rows_are_not_gone(cli: Commands) -> None:
    whole = cli.run()
    del cli.nights.rows["rec-0001"]
    words = ("--config", cli.config)
    assert count(cli.json("run", *words, "--first", "5")) == {"unchanged": 5}
    assert cli.nights.runs() == [whole.name] and len(cli.nights.current()) == 12
    assert count(cli.json("plan", *words)) == {"unchanged": 11, "gone": 1}, "as before the try"
    trial = ("--set", "output.format=webp")
    assert count(cli.json("run", *words, "--first", "5", *trial)) == {"settings": 5}
    assert count(cli.json("run", *words)) == {"unchanged": 11, "gone": 1}, "its own results are found again"


def test_a_try_of_a_run_that_has_a_name_has_its_own(cli: Commands) -> None:
    cli.settings |= {"run_id": "spring"}
    words = ("--config", cli.config)
    assert cli.json("run", *words, "--first", "2")["run_id"] != "spring"
    assert cli.json("run", *words)["run_id"] == "spring" and len(cli.nights.current()) == 12


def test_a_try_that_is_cut_short_goes_on(nights: Nights) -> None:
    nights.add(20)
    cut = nights.run(stop_after=4, more={"first": 20})
    assert cut.committed < cut.planned == 20
    rest = nights.run(more={"first": 20})
    assert (rest.run_id, rest.committed, nights.again) == (cut.run_id, 20, 0)


def test_no_more_is_read_than_is_asked_for(nights: Nights, tmp_path: Path) -> None:
    config = nights.configure(first=3)
    rows = [{**nights.rows["rec-0000"], "record_id": f"r{i}"} for i in range(50_000)]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    class Watch(Progress):
        read = 0

        def planning(self, rows: int) -> None:
            self.read = rows

    watch = Watch()
    assert runner.plan(make_job(config), watch).planned == 3 and watch.read == 3
