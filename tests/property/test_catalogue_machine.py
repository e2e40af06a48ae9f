"""A catalogue over many nights, against a model of it in plain Python.

The machine changes the manifest and its images as users do, runs nights that are whole or cut short, with
this setting or another, makes parts anew, and forgets. After each step the catalogue must have, for each
record, what the model has, made by the runs that the model counts and by no others.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from PIL import Image, ImageOps

from mira_batch.catalogue.current import read_catalogue
from mira_batch.config.load import load_config
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunStopped, StoreError
from mira_batch.core.receipts import Progress, RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.launch import make_job
from mira_batch.runtime import forget as forgetting
from mira_batch.runtime import run as runner
from mira_batch.storage import schema
from mira_batch.storage.catalogue.check import check_catalogue
from mira_batch.storage.catalogue.fold import fold
from mira_batch.storage.catalogue.place import open_catalogue
from mira_batch.storage.catalogue.rollback import roll_back

EDITS = {
    "mirror the image horizontally": ImageOps.mirror,
    "flip the image vertically": ImageOps.flip,
    "invert the colors": ImageOps.invert,
}
FORMATS = ("png", "webp")
NAMES = [f"r{i}" for i in range(5)]


@dataclass
class Wish:
    """What the manifest wants of a record."""

    shade: int
    version: int
    instruction: str


@dataclass
class Work:
    """What was made of a wish, with the setting it was made with."""

    wish: tuple[int, int, str, str]
    """Shade, version, instruction, format."""
    order: int
    """Of the newest plan that wanted it."""


@dataclass
class Open:
    """A run that was cut short: of which plan, and what it has still to make of which version."""

    plan: int
    left: dict[str, tuple[int, int, str, str]]


@dataclass
class Model:
    """The catalogue, as simply as it can be said."""

    works: dict[str, list[Work]] = field(default_factory=dict)
    plans: int = 0
    last: dict[str, int] = field(default_factory=dict)
    """The last plan of each format."""
    gone: set[str] = field(default_factory=set)
    open: dict[Any, Open] = field(default_factory=dict)
    """By manifest and format."""
    was_cut: bool = False

    def find(self, name: str, wish: tuple[int, int, str, str]) -> Work | None:
        """Work that does for a wish: of this very version, or the newest one if only the file is another."""
        for work in self.works.get(name, []):
            if work.wish[1:] == wish[1:]:
                return work
        newest = self.newest(name)
        if newest is not None and (newest.wish[0], *newest.wish[2:]) == (wish[0], *wish[2:]):
            return newest
        return None

    def newest(self, name: str) -> Work | None:
        return max(self.works.get(name, []), key=lambda work: work.order, default=None)

    def plan(self, wishes: dict[str, tuple[int, int, str, str]], form: str, whole: bool) -> list[str]:
        """Compare what is wanted; the records to run. If there is anything new, it is a plan.

        Args:
            wishes: what is wanted, of those that it is about.
            form: the format.
            whole: it is about all records there are.
        """
        todo = [name for name, wish in wishes.items() if self.find(name, wish) is None]
        lost = {name for name in self.works if name not in wishes} - self.gone if whole else set()
        moved = {
            name: work
            for name, wish in wishes.items()
            if (work := self.find(name, wish)) is not None
            and (work is not self.newest(name) or work.wish[1] != wish[1] or name in self.gone)
        }
        if not (todo or lost or moved):
            return []
        self.plans += 1
        self.last[form] = self.plans
        self.gone |= lost
        self.gone -= {*todo, *moved}
        for name, work in moved.items():
            if work.wish[1] == wishes[name][1]:
                work.order = self.plans
            else:  # the same pixels in another file: known under both from now on
                self.works[name].append(Work(wishes[name], self.plans))
        return todo

    def make(self, name: str, wish: tuple[int, int, str, str], plan: int) -> None:
        self.works.setdefault(name, []).append(Work(wish, plan))


class Nights(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.scratch = tempfile.TemporaryDirectory(prefix="mira-batch-machine-")
        self.folder = Path(self.scratch.name)
        self.manifest: dict[str, Wish] = {}
        self.model = Model()
        self.versions = 0
        self.marks: list[tuple[int, dict[str, list[Work]], set[str]]] = []
        self.add(NAMES[0], 1, next(iter(EDITS)))

    def teardown(self) -> None:
        if hasattr(self, "scratch"):
            self.scratch.cleanup()

    # The manifest, as users change it

    @rule(name=st.sampled_from(NAMES), shade=st.integers(0, 3), instruction=st.sampled_from(list(EDITS)))
    def add(self, name: str, shade: int, instruction: str) -> None:
        if name not in self.manifest:
            self.manifest[name] = Wish(shade, 0, instruction)
            self.paint(name, shade)

    @rule(name=st.sampled_from(NAMES))
    def lose(self, name: str) -> None:
        if len(self.manifest) > 1:
            self.manifest.pop(name, None)

    @rule(name=st.sampled_from(NAMES), instruction=st.sampled_from(list(EDITS)))
    def ask_for(self, name: str, instruction: str) -> None:
        if name in self.manifest:
            self.manifest[name].instruction = instruction

    @rule(name=st.sampled_from(NAMES), shade=st.integers(0, 3))
    def paint(self, name: str, shade: int) -> None:
        """Another image under the same name; with the same shade, the same one saved again."""
        if name in self.manifest:
            self.versions += 1
            self.manifest[name].shade, self.manifest[name].version = shade, self.versions
            make_image(shade).save(self.folder / f"{name}.png")
            os.utime(self.folder / f"{name}.png", (self.versions, self.versions))

    # Nights

    def wish(self, name: str, form: str) -> tuple[int, int, str, str]:
        wanted = self.manifest[name]
        return wanted.shade, wanted.version, wanted.instruction, form

    @rule(form=st.sampled_from(FORMATS), after=st.none() | st.integers(1, 2))
    def night(self, form: str, after: int | None) -> None:
        """It may be cut short after so many records, or one more: shards are of one, committed in order."""
        key = (form, *((name, wanted.instruction) for name, wanted in self.manifest.items()))
        standing = self.model.open.get(key)
        if standing is not None and standing.plan == self.model.last[form]:
            # It goes on as it was planned; what it reads is what lies there now.
            todo = {name: (self.manifest[name].shade, *wish[1:]) for name, wish in standing.left.items()}
            plan = standing.plan
        else:
            wishes = {name: self.wish(name, form) for name in self.manifest}
            todo = {name: wishes[name] for name in self.model.plan(wishes, form, whole=True)}
            plan = self.model.plans
        summary = self.run(form, after)
        made = list(todo)[: summary.committed - summary.already]
        assert len(made) == len(todo) or (after is not None and len(made) >= after), (summary, todo)
        for name in made:
            self.model.make(name, todo.pop(name), plan)
        self.model.open.pop(key, None)
        if todo:
            self.model.open[key] = Open(plan, todo)
            self.model.was_cut = True

    @rule(form=st.sampled_from(FORMATS))
    def reprocess(self, form: str) -> None:
        """All that the catalogue knows, with this setting; new records are left alone."""
        wishes = {name: self.wish(name, form) for name in self.manifest if name in self.model.works}
        todo = self.model.plan(wishes, form, whole=False)
        summary = self.run(form, select={"where": "true"})
        assert summary.committed - summary.already == len(todo), (summary, todo)
        for name in todo:
            self.model.make(name, wishes[name], self.model.plans)

    def run(self, form: str, stop_after: int | None = None, **more: Any) -> RunSummary:
        path = self.folder / "m.jsonl"
        rows = [
            {"record_id": name, "image": f"{name}.png", "instruction": wish.instruction}
            for name, wish in self.manifest.items()
        ]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        config = load_config(
            {
                "input": {"manifest": str(path)},
                "output": {"uri": str(self.folder / "out"), "format": form, "quality": 100},
                "workers": {"min": 1, "max": 1, "records_in_flight": 1, "shard_size": 1},
                "backend": "inline",
            }
            | more
        )
        stop = StopRequest()

        class Watch(Progress):
            def committed(self, summary: RunSummary) -> None:
                if stop_after is not None and summary.committed - summary.already >= stop_after:
                    stop.ask(RunEnd.deadline, "the night is over")

        try:
            return runner.run(make_job(config), Watch(), stop)
        except RunStopped as early:
            assert stop_after is not None
            return early.summary

    # Runs that were cut short would be left alone, and what they have. How far one came before it heard of
    # its end is chance: so these rules look for themselves, and are not chosen by that.

    @rule()
    def forget_what_is_superseded(self) -> None:
        """Only what stands for a record is known from then on."""
        if self.model.was_cut or not self.model.works:
            return
        with patch.object(forgetting, "COPIED_BELOW", 1):  # however much of a run is needed
            forgetting.forget(self.catalogue, schema.RESULTS, forgetting.Retention(), lambda _: None)
        for name in self.model.works:
            newest = self.model.newest(name)
            assert newest is not None
            self.model.works[name] = [newest]
        self.marks.clear()

    @rule()
    def mark(self) -> None:
        """A state to which one may want to go back."""
        if self.model.was_cut or not self.model.works:
            return
        number = fold(self.catalogue, schema.RESULTS, self.refuse).number
        self.marks.append((number, deepcopy(self.model.works), set(self.model.gone)))

    @rule(back=st.integers(0, 9))
    def roll_back(self, back: int) -> None:
        if self.model.was_cut or not self.marks:
            return
        number, works, gone = self.marks[-1 - back % len(self.marks)]
        roll_back(self.catalogue, number)
        self.model.works, self.model.gone = deepcopy(works), set(gone)

    @staticmethod
    def refuse(error: StoreError) -> None:
        raise error

    @property
    def catalogue(self) -> Any:
        return open_catalogue(str(self.folder / "out"), "edit", StorageConfig())

    # What must hold

    @invariant()
    def the_catalogue_is_what_the_model_says(self) -> None:
        if not self.model.works:
            return
        found = {row["record_id"]: row for row in read_catalogue(str(self.folder / "out")).to_pylist()}
        assert found.keys() == {name for name in self.model.works if self.model.works[name]}
        for name, row in found.items():
            current = self.model.newest(name)  # all are ok
            assert current is not None
            shade, _, instruction, form = current.wish
            assert (row["instruction"], row["status"]) == (instruction, "ok"), (name, current)
            expected = EDITS[instruction](make_image(shade))
            with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
                assert image.format == form.upper(), (name, current)
                assert image.convert("RGB").tobytes() == expected.tobytes(), (name, current)

    @invariant()
    def it_says_what_its_runs_say(self) -> None:
        if self.model.works:
            assert check_catalogue(self.catalogue, schema.RESULTS).problems == []


def make_image(shade: int) -> Image.Image:
    image = Image.new("RGB", (4, 3), (60 * shade, 10, 200))
    image.putpixel((0, 0), (255, 255, 0))
    return image


TestNights = Nights.TestCase
TestNights.settings = settings(
    max_examples=15,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.generate],
    derandomize=True,
)
