"""The embedded judge: what an image shows of an instruction, and what the loop makes of that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mira_batch import load_config, read_outputs, read_trajectories, run
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest, JudgeRequest
from mira_batch.core.types import ErrorKind, Frame
from mira_batch.models.embedded.pillow_editor import PillowEditor
from mira_batch.models.embedded.rules_judge import RulesJudge
from tests.support.runs.catalogue import make_catalogue, settings

TWO = "rotate it 90 degrees clockwise and invert the colors"


def photo() -> Frame:
    return frame_of(Image.frombytes("RGB", (6, 4), bytes(i * 31 % 256 for i in range(72))))


def edited(frame: Frame, instruction: str) -> Frame:
    (image,) = PillowEditor().apply([EditRequest("r", instruction, frame, frame, 0, 0)])
    assert isinstance(image, Image.Image)
    return frame_of(image)


def score(candidate: Frame, instruction: str = TWO) -> Any:
    (judgement,) = RulesJudge().score([JudgeRequest("r", instruction, photo(), candidate, "")])
    return judgement


def test_the_score_is_the_share_of_edits_that_the_image_shows() -> None:
    half = edited(photo(), "rotate it 90 degrees clockwise")
    assert score(photo()).score == 0.0
    assert (score(half).score, score(half).reason) == (0.5, "1 of 2 edits are done")
    assert score(edited(half, "invert the colors")).score == 1.0


def test_an_image_that_no_edit_should_give_scores_nothing() -> None:
    wrong = score(edited(photo(), "mirror it"))
    assert wrong.score == 0.0 and "not what any" in wrong.reason


def test_an_instruction_that_it_does_not_understand_is_an_error_and_no_score() -> None:
    answer = score(photo(), "frobnicate the zebra")
    assert isinstance(answer, RecordError) and answer.kind is ErrorKind.instruction_unclear


def sloppy_editor() -> PillowEditor:
    return SloppyEditor()


class SloppyEditor(PillowEditor):
    """Gets two seeds of three wrong, each in its own way."""

    @property
    def identity(self) -> str:
        return "sloppy-editor/1"

    def apply(self, requests: Any) -> Any:
        wrong = [self._wrong(r) if r.seed % 3 else None for r in requests]
        right = super().apply(requests)
        return [bad or good for bad, good in zip(wrong, right, strict=True)]

    def _wrong(self, request: EditRequest) -> Image.Image:
        image = request.image.pixels.convert("RGB")
        image.putpixel((0, 0), (request.seed % 251, request.seed % 241, request.seed % 239))
        return image


@pytest.mark.parametrize("attempts", [1, 12])
def test_in_the_loop_it_rolls_wrong_edits_back_and_tries_other_seeds(tmp_path: Path, attempts: int) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 6)
    config = load_config(
        settings(
            manifest,
            tmp_path / "out",
            backend="inline",
            editor={"type": "custom", "factory": f"{__name__}:sloppy_editor"},
            judge={"model": {"type": "rules"}, "attempts": attempts, "satisfied": 1.0},
            limits={"max_steps": 40},
        )
    )
    summary = run(config)
    steps = read_trajectories(summary.run, images=False).to_pylist()
    rows = read_outputs(summary.run).to_pylist()
    assert {row["stop_reason"] for row in rows} <= {"judge_satisfied", "policy_stop"}
    if attempts == 1:
        assert any(not step["accepted"] for step in steps)  # and the policy asked for the edit again
    else:
        assert any(step["attempt"] > 0 for step in steps)
    finished = [row for row in rows if row["stop_reason"] == "judge_satisfied"]
    assert finished and all(
        max(s["score"] for s in steps if s["record_id"] == row["record_id"]) == 1.0 for row in finished
    )
