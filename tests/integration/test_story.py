"""A catalogue's life as one story, on a real S3 server: night after night, with all that happens to it.

After each step it is compared with a model of it: what each record should be now, and by which setting.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mira_batch.catalogue.current import read_catalogue
from mira_batch.config.shared import StorageConfig
from mira_batch.runtime.forget import Retention, forget
from mira_batch.storage import schema
from mira_batch.storage.catalogue.check import check_catalogue
from mira_batch.storage.catalogue.place import Catalogue, open_catalogue
from mira_batch.storage.catalogue.rollback import roll_back
from mira_batch.storage.catalogue.snapshot import find_newest
from tests.support.models.counted import counted
from tests.support.runs.disturbed import until
from tests.support.runs.nights import STEPS, Nights, count_causes, in_background
from tests.support.servers.s3 import S3Server

pytestmark = [pytest.mark.s3, pytest.mark.slow]
OTHER = {"policy": {"type": "simulated", "steps": {"exact": {"*": 1}}}}
"""Another setting: its results have one step."""


@dataclass
class Story:
    """The nights, and what the catalogue should have."""

    nights: Nights
    hold: Path
    """The edit of a record waits while a file of its name is here."""
    expected: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    """Instruction, status and number of steps of each record."""
    names: list[str] = field(default_factory=list)
    """Of the first 200 records."""
    edits: int = 0
    """How many should have been made by now."""

    def expect(self, names: list[str], steps: int = STEPS, status: str = "ok") -> None:
        for name in names:
            self.expected[name] = (self.nights.rows[name]["instruction"], status, steps)

    def check(self, edits: int) -> None:
        """The catalogue is what it should be, by so many edits more, none of them made twice in vain."""
        self.edits += edits
        columns = ["record_id", "instruction", "status", "num_steps"]
        rows = read_catalogue(self.nights.output, columns, self.nights.storage).to_pylist()
        found = {row["record_id"]: (row["instruction"], row["status"], row["num_steps"]) for row in rows}
        assert found == self.expected
        assert self.nights.edits == self.edits
        assert check_catalogue(self.catalogue, schema.RESULTS).problems == []

    @property
    def catalogue(self) -> Catalogue:
        return open_catalogue(self.nights.output, "edit", self.nights.storage)

    def ask_for(self, names: list[str], instruction: str) -> None:
        for name in names:
            self.nights.rows[name]["instruction"] = instruction


@pytest.fixture
def story(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    place = f"s3://{s3.bucket}/story"
    nights, hold = (
        Nights(tmp_path, place=place, storage=StorageConfig(endpoint_url=s3.endpoint)),
        tmp_path / "hold",
    )
    hold.mkdir()
    nights.editor = counted(nights.log, hold=hold)
    return Story(nights, hold)


@pytest.mark.soak
def test_the_life_of_a_catalogue(story: Story) -> None:
    live_through_first_nights(story)
    be_cut_short_and_overlap(story)
    take_back_and_try(story)
    retry_and_reject(story)
    reprocess_and_go_back(story)


def live_through_first_nights(story: Story) -> None:
    nights = story.nights
    names = story.names = nights.add(200)
    away = names[:10]
    nights.store.delete([f"{name}.png" for name in away])

    # The first: ten images can't be read
    first = nights.run()
    assert (first.planned, first.ok, first.failed) == (200, 190, 10)
    story.expect(names[10:])
    story.expect(away, steps=0, status="failed")
    story.check(190 * STEPS)

    # The second: what has changed, and what failed; no more
    story.ask_for(names[10:30], "mirror it")
    for i, name in enumerate(names[30:37]):
        nights.paint(name, 1_000 + i)
    for i, name in enumerate(names[37:40], start=38):
        nights.paint(name, i, compress_level=1)  # the same pixels in another file
    new, lost = nights.add(5), names[196:]
    for name in lost:
        del nights.rows[name]
    second = nights.run()
    assert count_causes(second) == {
        "unchanged": 200 - 4 - 20 - 7 - 3 - 10, "instruction": 20, "image": 7, "same_pixels": 3, "new": 5,
        "failed": 10, "gone": 4,
    }  # fmt: skip
    assert second.planned == 20 + 5 + 7 + 10
    story.expect([*names[10:37], *new])
    story.check(32 * STEPS)


def be_cut_short_and_overlap(story: Story) -> None:
    nights, names = story.nights, story.names

    # A night that is cut short, and a manifest that grows before the next
    story.ask_for(names[40:70], "blur it")
    cut = nights.run(stop_after=16)
    assert 16 <= cut.committed < cut.planned
    more = nights.add(3)
    assert nights.run().complete
    story.expect([*names[40:70], *more])
    story.check(33 * STEPS)
    assert nights.state_files() == 0

    # Two nights that overlap share the work
    story.ask_for(names[70:82], "sharpen it")
    held = story.hold / names[75]
    held.touch()
    thread, done = in_background(nights.run)
    until(lambda: nights.edits > story.edits)
    late = nights.add(4)
    overlapping = nights.run()
    assert overlapping.ok == 4 and count_causes(overlapping)["running"] > 0
    held.unlink()
    thread.join(120)
    assert done[0].ok == 12
    story.expect([*names[70:82], *late])
    story.check(16 * STEPS)


def take_back_and_try(story: Story) -> None:
    nights, names = story.nights, story.names

    # An instruction that is taken back
    story.ask_for(names[82:85], "emboss it")
    nights.run()
    story.expect(names[82:85])
    story.check(3 * STEPS)
    story.ask_for(names[82:85], "make it sepia")
    assert nights.run().complete
    story.expect(names[82:85])
    story.check(0)

    # Somebody tries another setting; the night after it finds its own results again
    before = dict(story.expected)
    assert nights.run(more=OTHER).complete
    good = [name for name in nights.rows if name not in names[:10]]
    story.expect(good, steps=1)
    story.check(len(good))
    assert nights.run().complete
    story.expected = before
    story.check(0)


def retry_and_reject(story: Story) -> None:
    nights, names = story.nights, story.names

    # The images are there again, and what failed is retried
    for i, name in enumerate(names[:10]):
        nights.paint(name, 2_000 + i)
    retried = nights.run(more={"select": {"where": "status != 'ok'"}})
    assert (retried.planned, retried.ok) == (10, 10)
    story.expect(names[:10])
    story.check(10 * STEPS)
    clean = nights.run(more={"select": {"where": "status != 'ok'"}})
    assert (clean.planned, clean.run) == (0, "")

    # Six results are rejected by a person; a decision about another result than the present one is none
    rejected = names[90:96]
    table = read_catalogue(nights.output, ["record_id", "result_digest"], nights.storage).to_pylist()
    digests = {row["record_id"]: row["result_digest"] for row in table}
    lines = [{"record_id": n, "result_digest": digests[n], "decision": "reject"} for n in rejected]
    lines += [{"record_id": names[96], "result_digest": "of another result", "decision": "reject"}]
    nights.store.put("decisions.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    decisions: dict[str, Any] = {"where": "true", "decisions": f"{nights.place}/decisions.jsonl"}
    again = nights.run(more={"select": decisions})
    assert count_causes(again)["rejected_by_person"] == again.planned == 6
    story.check(6 * STEPS)


def reprocess_and_go_back(story: Story) -> None:
    nights = story.nights
    marker = find_newest(story.catalogue.store).number

    # Another setting: a sample first, then all
    canary = nights.run(more=OTHER | {"select": {"where": "num_steps > 1", "sample": 12}})
    assert canary.planned <= 12
    rest = nights.run(more=OTHER | {"select": {"where": "true"}})
    assert rest.complete
    gone = {name: row for name, row in story.expected.items() if name not in nights.rows}
    story.expect(list(nights.rows), steps=1)
    story.expected |= gone
    story.check(10)  # all others were made by the trial

    # Back to what was
    roll_back(story.catalogue, marker)
    story.expect(list(nights.rows))
    story.expected |= gone
    story.check(0)
    assert nights.plan().planned == 0

    # And what nobody needs goes
    runs = nights.runs()
    forget(story.catalogue, schema.RESULTS, Retention(), lambda _: None)
    assert len(nights.runs()) < len(runs)
    story.check(0)
    assert nights.plan().planned == 0
