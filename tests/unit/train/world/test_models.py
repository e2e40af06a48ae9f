"""The expert, the editor and the truth by what a job asks them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mira_batch.config.models import CustomConfig
from mira_batch.core.actions import parse_action
from mira_batch.core.errors import ConfigError, RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest, Judgement, JudgeRequest, PolicyRequest
from mira_batch.core.types import Edit, ErrorKind, Frame, StopAction
from mira_batch.models.custom import build_custom
from mira_batch.models.serving import EDITOR, JUDGE, POLICY
from mira_batch.train.world import make_editor, make_expert, make_judge
from mira_batch.train.world.edits import parse_edit
from mira_batch.train.world.instructions import AND
from mira_batch.train.world.models import score_scene
from mira_batch.train.world.scenes import Scene, read_scene, render
from mira_batch.train.world.tasks import Task
from tests.unit.train.world.strategies import frame, scenes, some_tasks, tasks

PHOTO = frame_of(Image.new("RGB", (48, 48), "gray"))


def ask(
    task: Task, current: Frame | None = None, seed: int = 0, original: Frame | None = None
) -> PolicyRequest:
    start = original or frame(task.scene)
    return PolicyRequest("r", task.instruction, start, current or start, (), seed)


def change(image: Frame, text: str, seed: int = 0) -> EditRequest:
    return EditRequest("r", text, image, image, seed, 0)


def judge(task: Task, candidate: Frame, original: Frame | None = None) -> JudgeRequest:
    return JudgeRequest("r", task.instruction, original or frame(task.scene), candidate, "")


@pytest.mark.parametrize(
    ("factory", "role"), [("make_expert", POLICY), ("make_editor", EDITOR), ("make_judge", JUDGE)]
)
def test_they_are_built_from_a_config(factory: str, role: object) -> None:
    config = CustomConfig(type="custom", factory=f"mira_batch.train.world:{factory}")
    assert build_custom(config, role).identity  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [-0.1, 1.1, "often", True, float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"options\.failures .* between 0 and 1"):
        make_editor(failures=rate)
    with pytest.raises(ConfigError, match=r"options\.mistakes"):
        make_expert(rate)


def test_what_changes_answers_is_in_the_identity() -> None:
    assert make_expert().identity != make_expert(0.2).identity
    assert len({make_editor(*rates).identity for rates in ((0.1, 0.4), (0.2, 0.4), (0.1, 0.3))}) == 3


# Together


@given(tasks)
def test_the_expert_and_an_editor_that_never_fails_come_to_a_score_of_one(task: Task) -> None:
    policy, editor, truth = make_expert(), make_editor(failures=0), make_judge()
    current, scores = frame(task.scene), []
    for _ in task.kinds:
        (answer,) = policy.propose([ask(task, current)])
        action = parse_action(str(answer))
        assert isinstance(action, Edit) and action.thought
        (image,) = editor.apply([change(current, action.instruction)])
        current = frame_of(image)
        (verdict,) = truth.score([judge(task, current)])
        assert isinstance(verdict, Judgement)
        scores.append(verdict.score)
    assert isinstance(parse_action(str(policy.propose([ask(task, current)])[0])), StopAction)
    assert scores[-1] == 1.0 and scores == sorted(scores) and len({*scores}) == len(scores)


# The editor


def test_it_loses_so_many_edits_by_the_seed_alone() -> None:
    task = next(task for task in some_tasks() if len(task.kinds) == 1 and parse_edit(task.instruction))
    start = frame(task.scene)
    requests = [change(start, task.instruction, seed) for seed in range(2_000)]
    kept = [image is start.pixels for image in make_editor(failures=0.35).apply(requests)]
    assert 0.31 < sum(kept) / len(kept) < 0.39
    backwards = make_editor(failures=0.35).apply(requests[::-1])
    assert [image is start.pixels for image in backwards[::-1]] == kept
    assert not any(image is start.pixels for image in make_editor(failures=0).apply(requests[:50]))


def test_a_whole_instruction_at_once_loses_clauses_and_resolves_no_relation() -> None:
    editor, asked = make_editor(failures=0, compound_failures=0), some_tasks()
    for task in asked[:100]:
        (image,) = editor.apply([change(frame(task.scene), task.instruction)])
        scene = read_scene(image)
        for clause, kind in zip(task.goal.clauses, task.kinds, strict=True):
            assert (scene.cells[clause.cell] == clause.value) is ("beside" not in kind)
    several = [t for t in asked if AND in t.instruction and "beside" not in " ".join(t.kinds)][:60]
    lossy = make_editor(failures=0, compound_failures=0.4)
    results = [
        after.cells[clause.cell] == clause.value
        for number, task in enumerate(several)
        for seed in range(20 * number, 20 * number + 20)
        for after in [read_scene(lossy.apply([change(frame(task.scene), task.instruction, seed)])[0])]
        for clause in task.goal.clauses
    ]
    assert 0.56 < sum(results) / len(results) < 0.64


# The expert's mistakes


def test_its_mistakes_are_drawn_by_the_seed_and_are_put_right() -> None:
    policy, editor, truth = make_expert(mistakes=0.3), make_editor(failures=0), make_judge()
    worse = done = 0
    for number, task in enumerate(some_tasks()[:60]):
        current, score = frame(task.scene), 0.0
        for step in range(20):
            request = ask(task, current, seed=number * 100 + step)
            action = parse_action(str(policy.propose([request])[0]))
            assert policy.propose([request]) == policy.propose([request])
            if isinstance(action, StopAction):
                break
            assert isinstance(action, Edit)
            current = frame_of(editor.apply([change(current, action.instruction)])[0])
            verdict = truth.score([judge(task, current)])[0]
            assert isinstance(verdict, Judgement)
            worse += verdict.score < score
            score = verdict.score
        done += score == 1.0
    assert worse > 15 and done > 54


# The truth


@given(tasks, st.randoms(use_true_random=False))
def test_the_score_is_one_exactly_where_the_scene_is_the_target(task: Task, rng: random.Random) -> None:
    cells = [*task.goal.target.cells]
    for _ in range(rng.randint(0, 2)):
        cells[rng.randrange(len(cells))] = rng.choice([None, *task.goal.original.cells])
    scene = Scene(task.scene.size, tuple(cells))
    score = score_scene(task.goal, scene).score
    assert 0 <= score <= 1
    assert (score == 1.0) is (scene == task.goal.target)


@given(tasks, scenes())
def test_any_scene_has_a_score_within_its_axes(task: Task, scene: Scene) -> None:
    verdict = score_scene(task.goal, scene)
    assert 0 <= verdict.score <= 1
    assert all(axis.low <= axis.value <= axis.high for axis in verdict.axes.values())


def test_what_is_made_counts_and_collateral_is_taken_off() -> None:
    task = next(task for task in some_tasks() if len(task.kinds) == 2)
    first, second = task.goal.clauses
    other = next(
        cell for cell, thing in enumerate(task.scene.cells) if thing and cell not in (first.cell, second.cell)
    )
    half = task.scene.put(first.cell, first.value)
    assert score_scene(task.goal, task.scene).score == 0
    assert score_scene(task.goal, half).score == 0.5
    assert score_scene(task.goal, half.put(other, None)).score == 0
    verdict = score_scene(task.goal, task.goal.target.put(other, None))
    assert verdict.score == 0.5
    assert {name: axis.value for name, axis in verdict.axes.items()} == {"made": 2, "collateral": 1}
    assert verdict.protocol == "world-truth/1" and "2 of 2" in verdict.reason


# What an editor has drawn that learns to draw


def test_the_judge_reads_the_nearest_object_where_it_is_asked_to() -> None:
    """Noise is no matter to it, what shows nothing of the world is wrong, and another size fails."""
    task = next(task for task in some_tasks() if task.scene.size == 3)
    truth = make_judge(nearest="small")
    assert truth.identity != make_judge().identity
    pixels = np.asarray(render(task.goal.target), np.float32)
    noisy = (pixels + np.random.default_rng(0).normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
    spoilt = noisy.copy()
    still = next(cell for cell in range(9) if task.scene.cells[cell] == task.goal.target.cells[cell])
    row, column = 16 * (still // 3), 16 * (still % 3)
    spoilt[row : row + 16, column : column + 16] = 128
    candidates = [frame_of(Image.fromarray(each)) for each in (noisy, spoilt)]
    large = frame_of(Image.new("RGB", (64, 64)))
    good, bad, other = truth.score([judge(task, each) for each in (*candidates, large)])
    assert not isinstance(good, Exception) and good.score == 1
    assert not isinstance(bad, Exception) and bad.score < 1 and bad.axes["collateral"].value == 1
    assert isinstance(other, RecordError) and "a scene is 48 x 48" in str(other)
    (exact,) = make_judge().score([judge(task, candidates[0])])
    assert isinstance(exact, RecordError)
    with pytest.raises(ConfigError, match="options.nearest is 'tiny'; a world is small or large"):
        make_judge(nearest="tiny")


# What is not of the world


def test_an_image_that_is_no_scene_fails_its_request_alone() -> None:
    task = some_tasks()[0]
    good = frame(task.scene)
    calls = [
        (make_expert().propose([ask(task, PHOTO), ask(task)]), ErrorKind.policy_failed),
        (make_expert().propose([ask(task, good, original=PHOTO), ask(task)]), ErrorKind.policy_failed),
        (make_editor().apply([change(PHOTO, "x"), change(good, "x")]), ErrorKind.editor_failed),
        (make_judge().score([judge(task, PHOTO), judge(task, good)]), ErrorKind.judge_failed),
        (make_judge().score([judge(task, good, PHOTO), judge(task, good)]), ErrorKind.judge_failed),
    ]
    for (refused, answered), kind in calls:
        assert isinstance(refused, RecordError) and refused.kind is kind
        assert "no scene of the synthetic world" in str(refused)
        assert not isinstance(answered, Exception)


def test_an_instruction_of_another_world_is_unclear_to_the_policy_and_no_low_score() -> None:
    image = frame(some_tasks()[0].scene)
    (said,) = make_expert().propose([PolicyRequest("r", "make it nicer", image, image, (), 0)])
    assert isinstance(said, RecordError) and said.kind is ErrorKind.instruction_unclear
    (scored,) = make_judge().score([JudgeRequest("r", "make it nicer", image, image, "")])
    assert isinstance(scored, RecordError) and scored.kind is ErrorKind.judge_failed
    assert make_editor(failures=0).apply([change(image, "make it nicer")]) == [image.pixels]
