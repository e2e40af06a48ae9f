"""A judge behind a chat endpoint: what it is shown, what becomes of its answers, and a whole run with it.

What it has in common with the other served models is in the other test_served_*.py.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mira_batch import load_config, read_outputs, read_trajectories, run
from mira_batch.config.models.served import OpenAIJudgeConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.judge_prompt import JUDGE_FORM
from mira_batch.core.ports import Axis, Judgement, JudgeRequest, Priced
from mira_batch.core.types import ErrorKind, Frame
from mira_batch.models.remote.openai_judge import OpenAIJudge
from mira_batch.storage.stores.objects import open_store
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.edits import verify_edits
from tests.support.servers.models import Answer, Asked, ModelServer, judged

PRICES = {"call": 0.25}
KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def picture(shade: int, mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> Frame:
    return frame_of(Image.new(mode, size, (shade, 20, 30, 0)[: len(mode)]))


def judge(server: ModelServer, request: JudgeRequest, **more: Any) -> Priced[Judgement]:
    config = {"type": "openai", "model": "tiny", "base_url": server.url, "prices": PRICES, **more}

    async def main() -> Priced[Judgement]:
        model = OpenAIJudge(OpenAIJudgeConfig.model_validate(config))
        try:
            return await model.score(request)
        finally:
            await model.close()

    return asyncio.run(asyncio.wait_for(main(), 30))


REQUEST = JudgeRequest("r1", "make it <b>shine</b>", picture(1), picture(2), "brighten it")


def test_a_judgement_says_all_that_is_known(server: ModelServer) -> None:
    answer = judged(8.5, "a little dark")
    server.script = lambda asked: Answer(answer)
    found = judge(server, REQUEST)
    axes = {"score": Axis(8.5, 0, 10)}
    assert found == Priced(Judgement(0.85, "a little dark", axes, JUDGE_FORM, (answer,)), 0.25)


def test_it_is_shown_both_images_and_the_instruction(server: ModelServer) -> None:
    judge(server, REQUEST, prompt={"guidance": "Look at the hands."})
    (asked,) = server.asked
    assert [image.getpixel((0, 0)) for image in asked.images] == [(1, 20, 30), (2, 20, 30)]
    assert "make it &lt;b>shine&lt;/b>" in asked.text and "Look at the hands." in asked.system
    assert asked.body["temperature"] == 0 and asked.body["max_tokens"] == 512


def test_the_seed_follows_from_what_is_shown_alone(server: ModelServer) -> None:
    other = JudgeRequest("r2", REQUEST.instruction, REQUEST.original, REQUEST.candidate, "another edit")
    third = JudgeRequest("r1", REQUEST.instruction, REQUEST.original, picture(3), "brighten it")
    for request in (REQUEST, other, third):
        judge(server, request)
    first, same, different = (asked.body["seed"] for asked in server.asked)
    assert first == same != different


def test_it_sees_white_where_images_are_transparent_and_large_ones_smaller(server: ModelServer) -> None:
    clear, large = picture(1, "RGBA"), picture(2, size=(200, 100))
    judge(server, JudgeRequest("r1", "shine", clear, large, ""), prompt={"max_pixels": 3_136})
    first, second = server.asked[0].images
    assert first.getpixel((0, 0)) == (255, 255, 255) and second.size == (79, 39)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("It looks good: 8 of 10.", "it holds no JSON object"),
        (judged(11), "its score is out of [0, 10]"),
        (judged("8"), "its score is no number"),
        (judged(float("nan")), "NaN is no number"),
        ('{"score": 8, "rea', "can't be read"),
        ("", "it holds no JSON object: 'nothing'"),
        (f"no, {KEY}", "'no, ***'"),
    ],
)
def test_an_answer_without_a_score_fails_and_is_quoted(
    server: ModelServer, answer: str, problem: str
) -> None:
    server.script = lambda asked: Answer(answer + "\n" * 3)
    with pytest.raises(RecordError) as caught:
        judge(server, REQUEST)
    assert caught.value.kind is ErrorKind.judge_failed and caught.value.cost == 0.25
    assert problem in str(caught.value) and answer[:4].strip() in str(caught.value)
    assert str(caught.value).startswith("the judge's answer can't be used: ")


# A whole run


def score_of(candidate: Image.Image) -> int:
    """0 or 9, by the pixels."""
    return 9 * (hashlib.sha256(candidate.tobytes()).digest()[0] % 2)


def test_a_run_accepts_and_rejects_by_it_and_books_its_price(tmp_path: Path, server: ModelServer) -> None:
    def script(asked: Asked) -> Answer:
        if "sepia" in asked.text:
            return Answer("I'd rather not say.")
        return Answer(judged(score_of(asked.images[1]), "by its pixels"))

    server.script = script
    model = {"type": "openai", "model": "tiny", "base_url": server.url, "prices": PRICES}
    config = load_config(
        settings(
            make_catalogue(tmp_path / "catalogue", 12),
            tmp_path / "out",
            policy={"type": "simulated", "steps": {"exact": {"*": 2}}},
            editor={"type": "simulated"},
            judge={"model": model, "attempts": 2},
        )
    )
    summary = run(config)
    assert verify_edits(open_store(summary.run, config.storage)).whole
    steps = read_trajectories(summary.run).select(["record_id", "accepted", "score", "attempt"]).to_pylist()
    assert {step["accepted"] for step in steps} == {True, False}
    assert all(step["score"] in (0.0, 0.9) for step in steps)
    assert all(step["accepted"] == (step["score"] > 0) for step in steps)
    names = ["record_id", "instruction", "status", "error_kind", "error_message", "cost", "models"]
    rows = read_outputs(summary.run, names).to_pylist()
    failed = [row for row in rows if row["status"] == "failed"]
    assert failed and all("sepia" in row["instruction"] for row in failed)
    for row in failed:
        assert row["error_kind"] == "judge_failed" and row["cost"] == 0.25
        assert 'no JSON object: "I\'d rather not say."' in row["error_message"]
    assert all(JUDGE_FORM in str(row["models"]) for row in rows)
    assert summary.cost == pytest.approx(0.25 * len(server.asked))
    assert run(config).steps == summary.steps and len(server.asked) == round(summary.cost / 0.25)


def test_its_own_time_limit_fails_the_record_and_not_the_run(tmp_path: Path, server: ModelServer) -> None:
    server.script = lambda asked: Answer(how="hang") if "sepia" in asked.text else Answer(judged(9))
    model = {"type": "openai", "model": "tiny", "base_url": server.url}
    config = load_config(
        settings(
            make_catalogue(tmp_path / "catalogue", 6),
            tmp_path / "out",
            policy={"type": "simulated", "steps": {"exact": {"*": 1}}},
            editor={"type": "simulated"},
            judge={"model": model},
            limits={"judge_seconds": 0.5},
        )
    )
    summary = run(config)
    assert dict(summary.errors) == {"step_timeout": 1} and summary.ok == 5
    (row,) = [r for r in read_outputs(summary.run).to_pylist() if r["status"] == "failed"]
    assert row["error_message"] == "one judge call took longer than 0.5 s"
