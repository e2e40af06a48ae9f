"""The world's judge that looks: taught for a moment, and asked as a job asks it."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from mira_batch.config.models import JudgeConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.ports import Judgement, JudgeRequest
from mira_batch.core.types import Weights
from mira_batch.models.loader import load_models
from mira_batch.train.world.editor_pairs import draw_pair
from mira_batch.train.world.edits import say_edit
from mira_batch.train.world.instructions import read_goal
from mira_batch.train.world.judge_model import PROMPT, Verdict, describe_judge, draw_verdicts, teach_judge
from mira_batch.train.world.model import write_base
from mira_batch.train.world.scenes import SMALL, read_scene
from tests.unit.train.world.strategies import frame

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 40


def make_verdicts(count: int) -> list[Verdict]:
    """Edits that are done and edits of which nothing can be seen, in turn."""
    rng, found = random.Random(0), list[Verdict]()
    for number in range(count):
        pair, done = draw_pair(rng, SMALL, "train"), number % 2 == 0
        said = say_edit(pair.edit)
        shown = pair.target if done else pair.source
        request = JudgeRequest(f"r{number}", said, frame(pair.source), frame(shown), said)
        found.append(Verdict(request, float(done)))
    return found


VERDICTS = make_verdicts(6)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge")
    write_base(folder / "base")
    (folder / "score_logit.py").write_text(PROMPT)
    return folder / "base"


@pytest.fixture(scope="module")
def prompts(base: Path) -> Path:
    return base.with_name("score_logit.py")


@pytest.fixture(scope="module")
def taught(base: Path, prompts: Path, one_thread: None) -> tuple[Path, float]:
    """Where it is, and its last loss."""
    place = base.with_name("taught")
    return place, teach_judge(place, base, prompts, VERDICTS, steps=STEPS)


def ask(settings: dict[str, Any], requests: Sequence[JudgeRequest]) -> list[Any]:
    """What a judge says, loaded as a worker loads it."""
    config = TypeAdapter(JudgeConfig).validate_python(settings)

    async def main() -> list[Any]:
        clients = await load_models({"judge": (config, 120.0)}, lambda place: Weights(place, "judge"))
        try:
            calls = (clients["judge"].submit(request) for request in requests)
            found = await asyncio.gather(*calls, return_exceptions=True)
            return [getattr(each, "value", each) for each in found]
        finally:
            await clients.close()

    return asyncio.run(main())


def digest(directory: Path) -> str:
    return hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()


def test_it_learns_the_digit_and_the_score_logit_judge_gives_it(
    taught: tuple[Path, float], base: Path, prompts: Path, tmp_path: Path
) -> None:
    place, loss = taught
    first = teach_judge(tmp_path / "first", base, prompts, VERDICTS, steps=1)
    assert first > 3 and loss < 1  # from all words to the two digits that are right now and then
    for one in ask(describe_judge(place, prompts), [verdict.request for verdict in VERDICTS]):
        assert isinstance(one, Judgement), one
        assert 0 <= one.score <= 1 and one.validity["digit_mass"] > 0.5


def test_the_seed_fixes_the_bytes(base: Path, prompts: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        teach_judge(tmp_path / name, base, prompts, make_verdicts(34), seed, steps=2)
    assert digest(tmp_path / "one") == digest(tmp_path / "again") != digest(tmp_path / "other")


def test_what_it_cannot_learn_from_is_refused(base: Path, prompts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 verdict and 1 step at least; not 0 and 4"):
        teach_judge(tmp_path / "new", base, prompts, [], steps=4)
    with pytest.raises(ConfigError, match="1 verdict and 1 step at least; not 6 and 0"):
        teach_judge(tmp_path / "new", base, prompts, VERDICTS, steps=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="full is there already; name a new or empty directory"):
        teach_judge(tmp_path / "full", base, prompts, VERDICTS, steps=1)
    with pytest.raises(ConfigError, match="a score is in"):
        Verdict(VERDICTS[0].request, -0.2)
    assert not (tmp_path / "new").exists()


def test_verdicts_are_the_truth_about_right_images_and_many_ways_to_be_wrong() -> None:
    rng = random.Random(0)
    pairs = [draw_pair(rng, SMALL, "train") for _ in range(300)]
    ways: dict[str, int] = {}
    for pair, verdict in zip(pairs, draw_verdicts(pairs, 0), strict=True):
        asked = verdict.request
        source, shown = read_scene(asked.original.pixels), read_scene(asked.candidate.pixels)
        assert source == pair.source and asked.instruction == asked.edit == say_edit(pair.edit)
        assert verdict.score == (shown == read_goal(asked.instruction, source).target)
        changed = sum(now != was for now, was in zip(shown.cells, source.cells, strict=True))
        asked_for = shown.cells[pair.cell] == pair.target.cells[pair.cell]
        way = "right" if verdict.score else f"{'done' if asked_for else 'not done'}, {changed} changed"
        ways[way] = ways.get(way, 0) + 1
    assert 120 < ways["right"] < 190
    assert min(ways["not done, 0 changed"], ways["not done, 1 changed"], ways["done, 2 changed"]) > 15
    assert [v.request.candidate.digest for v in draw_verdicts(pairs[:5], 0)] == [
        v.request.candidate.digest for v in draw_verdicts(pairs, 0)[:5]
    ]
