"""Three parts that share nothing to be learned by heart."""

from __future__ import annotations

from collections import Counter
from itertools import islice, permutations

import pytest

from mira_batch.train.world.instructions import AND, read_goal
from mira_batch.train.world.scenes import LARGE, SMALL
from mira_batch.train.world.tasks import SPLITS, find_split, generate_tasks


def test_no_scene_and_no_instruction_of_several_clauses_is_in_two_parts() -> None:
    parts = {
        split: [task for seed in (0, 1) for task in generate_tasks(split, 400, seed)] for split in SPLITS
    }
    scenes = {split: {task.scene for task in drawn} for split, drawn in parts.items()}
    texts = {
        split: {
            AND.join(order)
            for task in drawn
            if AND in task.instruction
            for order in permutations(task.instruction.split(AND))
        }
        for split, drawn in parts.items()
    }
    for one, other in permutations(SPLITS, 2):
        assert not scenes[one] & scenes[other]
        assert not texts[one] & texts[other]
    assert len(scenes["train"]) > 700, "another seed draws other scenes"


def test_tasks_are_a_function_of_the_seed_and_a_longer_list_goes_on() -> None:
    longer = [*generate_tasks("train", 60, seed=3)]
    assert [*generate_tasks("train", 20, seed=3)] == longer[:20]
    assert [*generate_tasks("train", 20, seed=4)] != longer[:20]
    assert (
        len({(task.scene, task.instruction) for task in longer}) == len({task.name for task in longer}) == 60
    )


@pytest.mark.parametrize("world", [SMALL, LARGE], ids=["small", "large"])
def test_tasks_have_one_to_three_clauses_of_all_kinds(world: object) -> None:
    drawn = [*islice(generate_tasks("train", 300, world=world), 300)]  # type: ignore[arg-type]
    counts = Counter(len(task.kinds) for task in drawn)
    assert counts[1] > 30 and counts[2] > 80 and counts[3] > 80 and counts.total() == 300
    kinds = Counter(kind for task in drawn for kind in task.kinds)
    assert len(kinds) == 5 and min(kinds.values()) > 60
    for task in drawn:
        assert read_goal(task.instruction, task.scene) == task.goal
        assert task.instruction.count(AND) + 1 == len(task.kinds)
        assert task.scene.size == world.size  # type: ignore[attr-defined]


def test_eight_of_ten_go_to_train() -> None:
    counts = Counter(find_split(str(number)) for number in range(5_000))
    assert 3_850 < counts["train"] < 4_150 and 420 < counts["val"] < 580 and 420 < counts["test"] < 580
