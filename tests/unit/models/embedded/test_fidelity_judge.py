"""The judge of what an edit should have left alone: what it rejects, with which words; and in the loop."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from pydantic import ValidationError

from mira_batch import load_config, read_outputs, read_trajectories, run
from mira_batch.config.models import FidelityJudgeConfig
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest, Judgement, JudgeRequest
from mira_batch.edit.job import EditJob
from mira_batch.models.embedded import FidelityJudge
from mira_batch.models.serving.answers import check_judgement
from tests.support.runs.catalogue import settings
from tests.unit.imaging.edits import photograph, tint

HERE = "tests.unit.models.embedded.test_fidelity_judge"


@cache
def source(x: float = 0) -> Image.Image:
    return photograph("coffee.jpg", 400, 300, x)


def a_local_edit(image: Image.Image) -> Image.Image:
    edited = image.copy()
    ImageDraw.Draw(edited).rectangle((100, 60, 180, 140), fill=(30, 90, 200))
    return edited


def judge(candidate: Image.Image, original: Image.Image | None = None, **limits: Any) -> Judgement:
    model = FidelityJudge(FidelityJudgeConfig(type="fidelity", **limits))
    request = JudgeRequest("r", "paint a square", frame_of(original or source()), frame_of(candidate), "")
    [answer] = model.score([request])
    assert isinstance(answer, Judgement) and check_judgement(answer) == answer
    return answer


def test_a_clean_local_edit_is_accepted() -> None:
    answer = judge(a_local_edit(source()))
    assert (answer.score, answer.reason) == (1, "within the limits")
    assert answer.axes["changed_share"].value == pytest.approx(81 * 81 / 400 / 300, abs=0.02)
    assert answer.axes["shift"].value < 0.15 and answer.axes["delta_e"].value < 0.1


@pytest.mark.parametrize(
    ("candidate", "limits", "words"),
    [
        (a_local_edit(source(5)), {}, "shift is 5"),
        (a_local_edit(tint(source(), (1.2, 1, 0.8))), {}, "delta_e is "),
        (a_local_edit(tint(source(), (1.05, 1, 0.95))), {"max_delta_e": 0.5}, "above 0.5"),
        (a_local_edit(source()), {"max_changed_share": 0.02}, "changed_share is 0.0"),
        (
            a_local_edit(source().resize((200, 150)).resize((400, 300))),
            {"min_sharpness_ratio": 0.7},
            "below 0.7",
        ),
        (source().rotate(90, expand=True), {"unmeasured": "reject"}, "shift can't be measured"),
    ],
    ids=["moved", "tinted", "strict", "too much", "soft", "turned"],
)
def test_what_goes_beyond_a_limit_is_rejected(candidate: Image.Image, limits: Any, words: str) -> None:
    answer = judge(candidate, **limits)
    assert answer.score == 0 and words in answer.reason


def test_a_limit_of_none_is_not_looked_at() -> None:
    assert judge(a_local_edit(source(5)), max_shift=None).score == 1
    assert judge(source().rotate(90, expand=True)).score == 1, "nothing could be measured"


def test_alpha_that_is_lost() -> None:
    cut = source().copy()
    mask = Image.new("L", cut.size)
    ImageDraw.Draw(mask).ellipse((60, 40, 340, 260), fill=255)
    cut.putalpha(mask)
    flat = Image.alpha_composite(Image.new("RGBA", cut.size, "white"), cut).convert("RGB")
    assert judge(flat, cut, max_alpha_loss=0.1).score == 0
    assert judge(cut.copy(), cut, max_alpha_loss=0.1).score == 1
    assert judge(source().copy(), max_alpha_loss=0.1, unmeasured="reject").score == 1, "it has no alpha"


def test_its_limits_are_its_identity() -> None:
    strict, same, other = (
        FidelityJudge(FidelityJudgeConfig(type="fidelity", **limits))
        for limits in ({"max_shift": 1, "replicas": 2}, {"max_shift": 1.0, "max_batch": 3}, {})
    )
    assert strict.identity == same.identity != other.identity
    assert strict.identity.startswith("fidelity-judge/1 ")


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="no limit is set"):
        FidelityJudgeConfig(type="fidelity", max_shift=None, max_delta_e=None)
    with pytest.raises(Exception, match="leave satisfied out"):
        load_config(settings("m", "o", judge={"model": {"type": "fidelity"}, "satisfied": 0.9}))


class Careless:
    """An editor that moves the whole image at its first try, and does its work at others."""

    identity, max_batch = "careless/1", 8

    def __init__(self) -> None:
        self.tries: dict[str, int] = {}

    def bucket(self, request: EditRequest) -> None:
        return None

    def apply(self, requests: list[EditRequest]) -> list[Image.Image]:
        return [self._edit(request) for request in requests]

    def _edit(self, request: EditRequest) -> Image.Image:
        self.tries[request.record_id] = self.tries.get(request.record_id, 0) + 1
        image: Image.Image = request.image.pixels
        if self.tries[request.record_id] == 1:
            image = image.transform(image.size, Image.Transform.AFFINE, (1, 0, -6, 0, 1, 0))
        return a_local_edit(image)


def test_in_the_loop_an_edit_that_moves_the_rest_is_tried_again(tmp_path: Path) -> None:
    source().save(tmp_path / "a.png")
    row = {"record_id": "a", "image": "a.png", "instruction": "paint a square"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    base = settings(tmp_path / "m.jsonl", tmp_path / "out", policy={"type": "passthrough"})
    base["editor"] = {"type": "custom", "factory": f"{HERE}:Careless"}
    config = load_config(base | {"judge": {"model": {"type": "fidelity"}, "attempts": 3}})
    summary = run(config)
    [step] = read_trajectories(summary.run, images=False).to_pylist()
    assert (step["attempt"], step["accepted"], step["score"]) == (1, True, 1)
    [found] = read_outputs(summary.run, ["status", "models", "fidelity"]).to_pylist()
    assert found["status"] == "ok" and found["models"]["judge"].startswith("fidelity-judge/1")
    assert found["fidelity"]["shift"] < 0.15
    without = EditJob(load_config(base)).fingerprint_fields()
    other = EditJob(
        load_config(base | {"judge": {"model": {"type": "fidelity", "max_shift": 9}, "attempts": 3}})
    )
    fingerprints = [without, EditJob(config).fingerprint_fields(), other.fingerprint_fields()]
    assert len({json.dumps(fields, sort_keys=True) for fields in fingerprints}) == 3
