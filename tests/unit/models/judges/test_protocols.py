"""The protocols by themselves: what they ask, and by which arithmetic answers become scores."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from mira_batch.config.models import JudgeConfig
from mira_batch.core.errors import ConfigError, RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.pairs import PairRequest, Winner, agree
from mira_batch.core.ports import Axis, Judgement, JudgeRequest
from mira_batch.core.questions import Answer, Question
from mira_batch.core.types import Frame
from mira_batch.models.judges.imgedit import AXES
from mira_batch.models.judges.pairwise import Pairwise
from mira_batch.models.judges.reading import Unreadable
from mira_batch.models.judges.score_logit import expect_digit
from mira_batch.models.registry import build_protocol

BACKEND = {"type": "openai", "model": "tiny", "base_url": "http://127.0.0.1:1/v1"}
SOURCE = frame_of(Image.new("RGB", (8, 6), "red"))
EDITED = frame_of(Image.new("RGB", (4, 4), "blue"))
REQUEST = JudgeRequest("r1", "make it <b>shine</b> <|im_end|>", SOURCE, EDITED, "brighten it")


def config_of(kind: str, **settings: Any) -> Any:
    return TypeAdapter(JudgeConfig).validate_python({"type": kind, "backend": BACKEND, **settings})


def protocol_of(kind: str, **settings: Any) -> Any:
    return build_protocol(config_of(kind, **settings), "judge.model")


def scores(*values: float, reasoning: str = "") -> Answer:
    return Answer(json.dumps({"score": values, "reasoning": reasoning}))


def shown(question: Question) -> str:
    """A question in one line, an image as its size."""
    parts = (
        f"[{part.size[0]}x{part.size[1]}]" if isinstance(part, Frame) else part
        for part in question.prompt.parts
    )
    return "".join(parts)


# VIEScore


def test_viescore_is_the_root_of_the_least_scores() -> None:
    answers = [scores(9, 7, reasoning="a hat"), scores(6, 8, reasoning="clean")]
    found = protocol_of("viescore").read(REQUEST, answers)
    assert found.score == pytest.approx(math.sqrt(7 * 6) / 10, abs=1e-12)
    values = {name: axis.value for name, axis in found.axes.items()}
    assert values == {
        "success": 9,
        "overediting": 7,
        "naturalness": 6,
        "artifacts": 8,
        "SC": 7,
        "PQ": 6,
        "overall": pytest.approx(6.480740698),
    }
    assert {(axis.low, axis.high) for axis in found.axes.values()} == {(0, 10)}
    assert found.reason == "a hat clean" and found.raw == tuple(answer.text for answer in answers)
    assert found.protocol == "viescore-form/1 resize=none"


def test_viescore_shows_both_images_and_then_the_edited_one() -> None:
    edit, image = protocol_of("viescore").ask(REQUEST)
    assert shown(edit).endswith("[8x6][4x4]") and shown(image).endswith("[4x4]")
    assert "[8x6]" not in shown(image) and "shine" not in shown(image)
    assert '"make it &lt;b>shine&lt;/b> &lt;|im_end|>"' in shown(edit) and "<|" not in shown(edit)
    resized = protocol_of("viescore", resize="to_source")
    assert [shown(question)[-5:] for question in resized.ask(REQUEST)] == ["[8x6]", "[8x6]"]
    assert resized.name == "viescore-form/1 resize=to_source"


def test_an_answer_that_cant_be_read_is_no_score() -> None:
    with pytest.raises(Unreadable, match="out of"):
        protocol_of("viescore").read(REQUEST, [scores(9, 7), scores(11, 8)])


OFFICIAL = """
_context_no_delimit = "C"
_context_no_delimit_reasoning_first = "R"
_prompts_0shot_two_image_edit_rule = "E 10"
_prompts_0shot_tie_rule_SC = "of 0 to 10: " "<instruction>"
_prompts_0shot_rule_PQ = "P 10"
"""


def test_the_users_copy_is_put_together_as_its_authors_do(tmp_path: Path) -> None:
    path = tmp_path / "vie_prompts.py"
    path.write_text(OFFICIAL)
    viescore = protocol_of("viescore", prompts=str(path))
    assert [shown(question) for question in viescore.ask(REQUEST)] == [
        "C\nE 10\nof 0 to 10: make it <b>shine</b> &lt;|im_end|>[8x6][4x4]",
        "C\nP 10[4x4]",
    ]
    assert viescore.name.startswith("viescore/sha256:")
    editscore = protocol_of("editscore", prompts=str(path))
    assert [shown(question) for question in editscore.ask(REQUEST)] == [
        "<img1>: [8x6]<img2>: [8x6]R\nE 10\nof 0 to 25: make it <b>shine</b> &lt;|im_end|>",
        "<img1>: [8x6]R\nP 25",
    ]
    path.write_text(OFFICIAL.replace("<instruction>", "it"))
    with pytest.raises(ConfigError, match="_prompts_0shot_tie_rule_SC has no <instruction>"):
        protocol_of("viescore", prompts=str(path))


def test_a_file_of_prompts_must_be_local() -> None:
    with pytest.raises(ValidationError, match="must be a file on this machine"):
        config_of("viescore", prompts="s3://bucket/vie_prompts.py")


# EditScore

PASSES = [scores(20, 25), scores(10, 15), scores(25, 5), scores(25, 20)]
"""Of two passes: SC 8 and 2, PQ 4 and 8."""


@pytest.mark.parametrize(
    ("averaging", "overall"),
    [("average_last", (math.sqrt(8 * 4) + math.sqrt(2 * 8)) / 2), ("average_first", math.sqrt(5 * 6))],
)
def test_editscore_averages_as_it_says(averaging: str, overall: float) -> None:
    found = protocol_of("editscore", passes=2, averaging=averaging).read(REQUEST, PASSES)
    assert found.score == pytest.approx(overall / 10, abs=1e-12)
    assert found.axes == {
        "prompt_following": Axis(22.5, 0, 25),
        "consistency": Axis(15, 0, 25),
        "naturalness": Axis(17.5, 0, 25),
        "artifacts": Axis(17.5, 0, 25),
        "SC": Axis(5, 0, 10),
        "PQ": Axis(6, 0, 10),
        "overall": Axis(pytest.approx(overall), 0, 10),
    }
    assert found.protocol == (
        f"editscore-form/1 passes=2 seed=42 {averaging} image_labels=true resize=to_source"
    )
    assert len(found.raw) == 4


def test_editscore_asks_each_pass_with_a_seed_of_its_own() -> None:
    protocol = protocol_of("editscore", passes=3, seed=7, image_labels=False)
    assert [question.seed for question in protocol.ask(REQUEST)] == [7, 7, 8, 8, 9, 9]
    assert shown(protocol.ask(REQUEST)[0]).startswith("[8x6][8x6]") and "0 to 25" in shown(
        protocol.ask(REQUEST)[0]
    )
    sampling = protocol.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.max_tokens) == (0.7, 0.9, 20, 512)


def test_one_pass_that_cant_be_read_fails_them_all() -> None:
    with pytest.raises(Unreadable):
        protocol_of("editscore", passes=2).read(REQUEST, [*PASSES[:3], Answer("looks good")])


def test_passes_that_would_all_be_the_same_are_refused() -> None:
    with pytest.raises(ValidationError, match="each pass gives the same answer"):
        config_of("editscore", passes=4, backend=BACKEND | {"sampling": {}})


# Score-logit


def test_the_expected_digit_by_hand() -> None:
    logits = [0.5, -1.0, 2.0, 3.0, 1.0, 0.0]
    others = math.exp(4.0) + math.exp(-2.0)
    whole = sum(map(math.exp, logits)) + others
    logprobs = {str(digit): logit - math.log(whole) for digit, logit in enumerate(logits)}
    weights = [math.exp(logit) for logit in logits]
    shares = [weight / sum(weights) for weight in weights]
    found = expect_digit(logprobs)
    assert found.value == pytest.approx(sum(k * p for k, p in enumerate(shares)), abs=1e-12)
    assert found.mass == pytest.approx(sum(weights) / whole, abs=1e-12)
    assert found.entropy == pytest.approx(-sum(p * math.log(p) for p in shares), abs=1e-12)
    assert found.error == 0.0
    sure = expect_digit({"3": 0.0, "4": -math.inf})
    assert (sure.value, sure.mass, sure.entropy) == (3.0, 1.0, 0.0)


def test_digits_that_an_endpoint_does_not_tell_of_count_nothing_and_bound_the_error() -> None:
    found = expect_digit({"4": math.log(0.6), "5": math.log(0.3)}, unseen=0.1)
    assert found.mass == pytest.approx(0.9) and found.value == pytest.approx(4 + 1 / 3)
    worst = (4 * 0.6 + 5 * 0.3 + 0 * 0.1) / 1.0
    assert found.error == pytest.approx(found.value - worst)
    assert expect_digit({}, unseen=0.2).mass == 0.0


def digits(mass: float, digit: str = "4") -> Answer:
    return Answer("'4' 0.100, 'The' 0.900", {digit: math.log(mass)}, 0.01)


def test_too_little_mass_on_the_digits_is_a_failure() -> None:
    protocol = protocol_of("score_logit", min_mass=0.25)
    found = protocol.read(REQUEST, [digits(0.25)])
    assert found.score == 0.8 and found.axes == {"expected_digit": Axis(4.0, 0, 5)}
    assert found.validity["digit_mass"] == pytest.approx(0.25) and found.validity["entropy"] == 0.0
    assert found.validity["digits_seen"] == 1 and found.validity["unseen_mass"] == 0.01
    with pytest.raises(
        RecordError, match="probability 0.2 .* below min_mass 0.25; the likeliest are '4' 0.1"
    ):
        protocol.read(REQUEST, [digits(0.2)])
    with pytest.raises(RecordError, match="probability 0 "):
        protocol.read(REQUEST, [Answer("'The' 0.9")])


def test_score_logit_asks_for_the_digit_that_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "prompt_template.py"
    path.write_text("SCORE_LOGIT = '''{prompt}|{requirement}|0-5'''\n")
    protocol = protocol_of("score_logit", prompts=str(path), requirement_key="needs")
    request = JudgeRequest("r1", "add {requirement}", SOURCE, EDITED, "", {"needs": "keep {prompt}"})
    (question,) = protocol.ask(request)
    assert shown(question) == "[8x6][4x4]add {requirement}|keep {prompt}|0-5"
    assert question.choices == ("0", "1", "2", "3", "4", "5")
    with pytest.raises(RecordError, match="metadata.needs is missing"):
        protocol.ask(REQUEST)
    (plain,) = protocol_of("score_logit").ask(REQUEST)
    assert '"make it &lt;b>shine' in shown(plain) and "{" not in shown(plain)


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.5}, {"temperature": None}])
def test_score_logit_draws_nothing(sampling: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="draws nothing"):
        config_of("score_logit", backend=BACKEND | {"sampling": sampling})
    config_of("score_logit", backend=BACKEND | {"sampling": {"temperature": None, "top_p": None}})


# ImgEdit


def lines(task: str, *values: float) -> Answer:
    return Answer("\n".join(f"{axis}: {value}" for axis, value in zip(AXES[task], values, strict=True)))


@pytest.mark.parametrize("task", sorted(AXES))
def test_imgedit_asks_for_the_axes_of_the_kind_and_takes_their_mean(task: str) -> None:
    protocol = protocol_of("imgedit", task_key="edit_type")
    request = JudgeRequest("r1", "shine", SOURCE, EDITED, "", {"edit_type": task})
    (question,) = protocol.ask(request)
    assert all(f"\n{axis}: a number from 1 to 5" in shown(question) for axis in AXES[task])
    found = protocol.read(request, [lines(task, 4, 3, 3)])
    assert found.score == pytest.approx((10 / 3 - 1) / 4) and list(found.axes) == [*AXES[task], "item"]
    assert found.axes["item"] == Axis(pytest.approx(10 / 3), 1, 5)
    assert found.validity == {"breaks_own_rule": 0.0}
    assert protocol.read(request, [lines(task, 1, 1, 1)]).score == 0.0
    assert protocol.read(request, [lines(task, 3, 5, 5)]).validity == {"breaks_own_rule": 1.0}


@pytest.mark.parametrize("metadata", [{}, {"edit_type": "adds"}, {"edit_type": 3}, {"edit_type": ["add"]}])
def test_an_unknown_kind_of_edit_is_a_plain_error(metadata: dict[str, Any]) -> None:
    request = JudgeRequest("r1", "shine", SOURCE, EDITED, "", metadata)
    with pytest.raises(RecordError, match=r"metadata\.edit_type, which task_key names, is .* \(add, remove"):
        protocol_of("imgedit", task_key="edit_type").ask(request)


def test_imgedit_takes_the_users_prompts_and_one_source_of_the_kind(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"add": "Rate: <edit_prompt>"}))
    (question,) = protocol_of("imgedit", task="add", prompts=str(path)).ask(REQUEST)
    assert shown(question) == "Rate: make it <b>shine</b> &lt;|im_end|>[8x6][4x4]"
    with pytest.raises(ConfigError, match="holds no text under remove, replace"):
        protocol_of("imgedit", task_key="edit_type", prompts=str(path))
    for settings in ({}, {"task": "add", "task_key": "edit_type"}):
        with pytest.raises(ValidationError, match="set either task"):
            config_of("imgedit", **settings)
    with pytest.raises(ValidationError, match="task"):
        config_of("imgedit", task="paint")


# Pairwise

PAIR = PairRequest("r1", "shine", SOURCE, EDITED, SOURCE)


def test_a_preference_is_read_as_it_is() -> None:
    protocol = Pairwise(config_of("pairwise"))
    (question,) = protocol.ask(PAIR)
    assert "[8x6]\nA:\n[4x4]\nB:\n[8x6]" in shown(question)
    assert protocol.ask(PAIR.swap())[0] != question
    for better, winner in [("A", "first"), ("b", "second"), ("tie", "tie")]:
        answer = Answer(json.dumps({"reason": "so", "better": better}))
        found = protocol.read(PAIR, [answer])
        assert (found.winner, found.reason, found.raw) == (winner, "so", (answer.text,))
    for text in ('{"better": "both"}', '{"better": 1}', "{}", "A", '{"better": "A"} {"better": "B"}'):
        with pytest.raises(Unreadable):
            protocol.read(PAIR, [Answer(text)])


def test_orders_that_disagree_are_a_tie() -> None:
    first, second, tie = Winner.first, Winner.second, Winner.tie
    assert agree(first, second) is first and agree(second, first) is second
    assert agree(first, first) is tie and agree(second, second) is tie
    assert agree(tie, tie) is tie and agree(first, tie) is tie


# All


@pytest.mark.parametrize(
    "settings",
    [
        {"resize": "to_source"},
        {"passes": 2},
        {"seed": 1},
        {"averaging": "average_first"},
        {"image_labels": False},
    ],
)
def test_what_makes_scores_incomparable_is_in_the_name_and_the_settings(settings: dict[str, Any]) -> None:
    base = {"resize": "none"}
    assert protocol_of("editscore", **base).name != protocol_of("editscore", **(base | settings)).name
    assert config_of("editscore", **base).pixels() != config_of("editscore", **(base | settings)).pixels()


def test_how_a_backend_is_reached_is_no_part_of_the_settings() -> None:
    elsewhere = BACKEND | {"base_url": "http://other/v1", "concurrency": 3, "prices": {"call": 1}}
    config = config_of("viescore", backend=elsewhere)
    assert config.pixels() == config_of("viescore").pixels() and config.charges
    assert not config_of("viescore").charges
    assert isinstance(protocol_of("viescore").read(REQUEST, [scores(1, 1), scores(1, 1)]), Judgement)
