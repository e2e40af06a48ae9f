"""The order of iterations and validations, with those of a few lines in place of real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.iterations import SentinelConfig
from mira_batch.config.load import load_own_config
from mira_batch.config.models import RulesJudgeConfig
from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.core.stop_request import StopRequest
from mira_batch.storage.stores import open_store
from mira_batch.train.iterations import (
    Course,
    IterationFiles,
    Plan,
    train_by_iterations,
)
from mira_batch.train.validations import put_validation, read_validation
from tests.support.runs.nft import nft_settings, write_records


def make_config(folder: Path) -> EditorNftConfig:
    """Of ten iterations, with a validation after each five."""
    manifest = write_records(folder / "records", 2)
    held_out = write_records(folder / "held-out", 2, seed=1)
    validation = {"input": {"manifest": str(held_out)}, "every": 5}
    settings = nft_settings(
        folder / "FluxKontextPipeline", manifest, folder / "out", iterations=10, validation=validation
    )
    return load_own_config(EditorNftConfig, settings)


def plan_of(
    solved_after: int, leave: Callable[[Course[Any], int], Any], scores: Sequence[float] = ()
) -> Plan[EditorNftConfig]:
    """A training of whose records none are left after so many iterations.

    Args:
        solved_after: as it says.
        leave: what an iteration leaves.
        scores: of validations, by how many iterations are done; left out, they rise.
    """

    def iterate(course: Course[EditorNftConfig], number: int) -> dict[str, Any] | None:
        if number == solved_after:
            return None
        leave(course, number)
        return {"iteration": number + 1}

    def validate(_course: Course[EditorNftConfig], done: int) -> dict[str, Any]:
        return {"iteration": done, "score": scores[done] if scores else done / 10}

    def write_card(_config: EditorNftConfig, best: Any, ended: str, *_: Any) -> tuple[str, dict[str, Any]]:
        return "", {"iteration": best.iteration, "ended": ended, "iterations": solved_after}

    return Plan("nft.json", "lora", None, iterate, validate, write_card)


def leave_adapter(course: Course[Any], number: int) -> None:
    files = IterationFiles(course.store, number)
    course.store.create(f"{files.folder}/lora/weights", str(number).encode())


@pytest.mark.parametrize(("solved_after", "validated"), [(7, [0, 5, 7]), (5, [0, 5])])
def test_what_is_given_is_validated_also_where_all_records_are_solved(
    tmp_path: Path, solved_after: int, validated: list[int]
) -> None:
    plan = plan_of(solved_after, leave_adapter)
    result = train_by_iterations(plan, make_config(tmp_path), [].append, None)
    assert result["iteration"] == solved_after and "all records are solved" in result["ended"]
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines if line["of"] == "validation"] == validated
    assert (tmp_path / "out/lora/weights").read_text() == str(solved_after - 1)


def test_a_training_that_comes_apart_ends_with_its_best_adapter(tmp_path: Path) -> None:
    """By its own patience, and the same command leaves it at that."""
    config = make_config(tmp_path)
    assert config.validation is not None
    watched = config.validation.model_copy(update={"every": 1, "patience": 2})
    config = config.model_copy(update={"validation": watched})
    scores = [0.3, 0.5, 0.4, 0.7, 0.6, 0.2, 0.9]
    plan, said = plan_of(10, leave_adapter, scores), list[str]()
    result = train_by_iterations(plan, config, said.append, None)
    assert "It stopped after 5 iterations: 2 validations in a row scored less" in result["ended"]
    assert result["ended"] in said and result["iteration"] == 3
    assert (tmp_path / "out/lora/weights").read_text() == "2"
    assert not (tmp_path / "out/iterations/000005").exists()
    assert train_by_iterations(plan, config, said.append, None) == result
    assert said[-1].startswith("complete already")


def test_a_result_without_its_adapter_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"iterations/000006/lora: is gone"):
        train_by_iterations(plan_of(7, lambda *_: None), make_config(tmp_path), [].append, None)
    assert not (tmp_path / "out/result.json").exists()


def test_scores_that_mean_different_things_are_not_held_against_each_other(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    store = open_store(config.output.uri, config.storage)

    def course_of(given: EditorNftConfig) -> Course[EditorNftConfig]:
        return Course(given, store, cast(Any, None), StopRequest(), [].append)

    course = course_of(config)
    assert read_validation(course, 5) is None
    put = put_validation(course, 5, {"iteration": 5, "score": 0.5})
    assert read_validation(course, 5) == put and put["score"] == 0.5
    assert config.validation is not None
    often = config.model_copy(
        update={"validation": config.validation.model_copy(update={"every": 1, "patience": 3})}
    )
    assert read_validation(course_of(often), 5) == put
    watched = config.model_copy(update={"sentinel": SentinelConfig(judge=RulesJudgeConfig(type="rules"))})
    steps = config.model_copy(update={"validation": config.validation.model_copy(update={"steps": 3})})
    for other in (watched, steps):
        with pytest.raises(RunConflict, match=r"000005/validation.json: was made by other.* or delete"):
            read_validation(course_of(other), 5)
    store.create("validation/000010/validation.json", b'{"iteration": 10, "score": 0.5}')  # of before
    assert read_validation(course_of(watched), 10) == {"iteration": 10, "score": 0.5}
    store.create("validation/000020/validation.json", b'{"iteration": 20}')
    with pytest.raises(StoreError, match=r"000020/validation.json: .*delete"):
        read_validation(course_of(config), 20)
    held_out = Path(config.validation.input.manifest)
    held_out.write_text(held_out.read_text().replace('"record_id"', ' "record_id"', 1))
    with pytest.raises(RunConflict, match=r"was made by other records"):
        read_validation(course_of(config), 5)
    assert read_validation(course_of(config), 10) == {"iteration": 10, "score": 0.5}
    with pytest.raises(
        RunConflict, match=r"has changed since the training's first look at it; put that back"
    ):
        put_validation(course, 15, {"iteration": 15, "score": 0.6})
    assert not store.exists("validation/000015/validation.json")
