"""Judges over a Qwen-VL in the worker, with tiny models of the real classes, and over an endpoint of one."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from mira_batch.config.models import JudgeConfig
from mira_batch.core.errors import ConfigError, RecordError
from mira_batch.core.ports import Judgement, JudgeRequest
from mira_batch.core.prompt import Prompt
from mira_batch.core.questions import Answer, Question
from mira_batch.core.thoughts import CutOff
from mira_batch.core.types import ErrorKind, Weights
from mira_batch.models.loader import load_models
from mira_batch.models.qwen import QwenVLBackend
from tests.contract.qwen_requests import MODELS
from tests.support.models.judging import DIGITS, backend_of, digit_model
from tests.support.models.tiny import noise
from tests.support.servers.bodies import token_json
from tests.support.servers.models import Answer as Said
from tests.support.servers.models import Asked, ModelServer


def questions(choices: tuple[str, ...] = ()) -> list[Question]:
    """Texts long and short, of one image, two, three and none."""
    first, second, third = noise(60, 40, 1), noise(30, 70, 2), noise(3, 40, 3)
    glass = noise(40, 40, 4, "RGBA")
    parts: list[tuple[Any, ...]] = [
        (first, second, "Is it brighter?"),
        ("Look. " * 40, first),
        (glass, "A:", third, "B:", second, "Which?"),
        ("Say something.",),
        (second, first, "Is it brighter?"),
    ]
    return [Question(Prompt("", each), seed, choices) for seed, each in enumerate(parts)]


@pytest.fixture(scope="module", params=MODELS)
def digits(request: pytest.FixtureRequest, tiny_models: Path) -> Path:
    return digit_model(tiny_models, request.param)


@pytest.fixture(scope="module")
def scorer(digits: Path) -> QwenVLBackend:
    return backend_of(digits, DIGITS)


# The model that is asked


@pytest.mark.parametrize("sampling", [None, {"temperature": 1.0, "top_k": 5, "max_tokens": 16}])
def test_words_in_a_batch_are_those_of_questions_alone(model: Path, sampling: dict[str, Any] | None) -> None:
    backend = backend_of(model, **({"sampling": sampling} if sampling else {}))
    asked = questions()
    together = backend.answer(asked)
    assert together == [backend.answer([question])[0] for question in asked]
    assert together[::-1] == backend.answer(asked[::-1])
    assert len({answer.text for answer in together if isinstance(answer, Answer)}) > 2


def test_probabilities_in_a_batch_are_those_of_questions_alone(scorer: QwenVLBackend) -> None:
    asked = questions(DIGITS)
    for batched, question in zip(scorer.answer(asked), asked, strict=True):
        (alone,) = scorer.answer([question])
        assert isinstance(batched, Answer) and isinstance(alone, Answer)
        assert batched.logprobs == pytest.approx(alone.logprobs, abs=1e-4)  # float32, by the padding
        assert batched.unseen == 0.0


def test_probabilities_are_those_of_the_models_own_logits(scorer: QwenVLBackend, digits: Path) -> None:
    """By hand: the processor's own rows, a plain forward pass, the ids of the tokenizer's vocabulary."""
    import torch

    (question,) = questions(DIGITS)[:1]
    heard: list[Any] = []
    head = scorer.model.get_output_embeddings()
    hook = head.register_forward_hook(lambda module, args, logits: heard.append(logits))
    (answer,) = scorer.answer([question])
    hook.remove()
    assert len(heard) == 1, "one forward pass"
    images = [part.pixels for part in question.prompt.parts if not isinstance(part, str)]
    template = "<|im_start|>user\n{}{}Is it brighter?<|im_end|>\n<|im_start|>assistant\n"
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    rows = scorer.processor(text=[template.format(image, image)], images=images, return_tensors="pt")
    with torch.inference_mode():
        plain = scorer.model(**rows).logits[0, -1]
    vocabulary = scorer.processor.tokenizer.get_vocab()
    assert isinstance(answer, Answer)
    for logits, near in ((heard[0][0, -1], 1e-9), (plain, 1e-4)):  # another pass rounds otherwise, in float32
        whole = math.fsum(math.exp(logit) for logit in logits.tolist())
        for digit in DIGITS:
            expected = float(logits[vocabulary[digit]]) - math.log(whole)
            assert answer.logprobs[digit] == pytest.approx(expected, abs=near)


def test_a_question_that_cant_be_asked_fails_alone(scorer: QwenVLBackend) -> None:
    good = questions(DIGITS)[:2]
    narrow = Question(Prompt("", (noise(1, 300, 1), "Is it?")), 0, DIGITS)
    long = Question(Prompt("", ("very " * 5000,)), 0, DIGITS)
    first, bad, second, endless = scorer.answer([good[0], narrow, good[1], long])
    assert isinstance(first, Answer) and isinstance(second, Answer)
    assert isinstance(bad, RecordError) and bad.kind is ErrorKind.judge_failed
    assert isinstance(endless, RecordError) and "judge.model.backend.max_pixels" in str(endless)


def test_a_tokenizer_whose_digits_are_several_tokens_is_refused(digits: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"judge\.model\.backend\.weights: '10' is not one token of .* \[\d+, \d+\]"
    ):
        backend_of(digits, ("1", "10"))


def test_a_model_that_thinks_first_gives_no_digit(digits: Path, tmp_path: Path) -> None:
    shutil.copytree(digits, tmp_path / "copy")
    template = tmp_path / "copy" / "chat_template.jinja"
    template.write_text(template.read_text() + "{{ '<think>\\n' }}")
    with pytest.raises(ConfigError, match="thinks before it answers"):
        backend_of(tmp_path / "copy", DIGITS)
    backend_of(tmp_path / "copy")


def test_a_backends_errors_name_its_own_field(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^judge\.model\.backend\.weights: .* is no directory"):
        backend_of(tmp_path / "none")


def test_weights_sampling_and_sizes_are_in_its_identity(model: Path) -> None:
    plain = backend_of(model)
    others = [
        backend_of(model, seed="other"),
        backend_of(model, max_pixels=40_000),
        backend_of(model, sampling={"top_k": 3}),
    ]
    assert len({plain.identity, *(other.identity for other in others)}) == 4
    assert backend_of(model, max_batch=2).identity == plain.identity


def test_only_so_many_of_the_likeliest_tokens_are_drawn_from() -> None:
    import torch

    from mira_batch.models.qwen.draws import keep_likeliest

    scores = torch.tensor([[1.0, 3.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    kept = keep_likeliest(scores, 2).isfinite().tolist()
    assert kept == [[False, True, False, True], [True, True, False, False]]
    assert keep_likeliest(scores, None) is scores and keep_likeliest(scores, 9) is scores


# Whole judges

FIRST, SECOND = noise(56, 56, 5), noise(56, 56, 6)
REQUESTS = [
    JudgeRequest(f"r{number}", f"make it {number}", FIRST, noise(56, 56, number), "", {"edit_type": "add"})
    for number in range(4)
]


def judge(settings: dict[str, Any], requests: Sequence[Any]) -> tuple[list[Any], str]:
    """Verdicts and faults of a judge, and its identity; all requests are asked side by side."""
    config = TypeAdapter(JudgeConfig).validate_python(settings)

    async def main() -> tuple[list[Any], str]:
        clients = await load_models(
            {"judge": (config, 60.0)}, lambda place: Weights(place, f"tiny {Path(place).name}")
        )
        try:
            calls = (clients["judge"].submit(request) for request in requests)
            found = await asyncio.gather(*calls, return_exceptions=True)
            return [getattr(each, "value", each) for each in found], str(clients.identities["judge"])
        finally:
            await clients.close()

    return asyncio.run(asyncio.wait_for(main(), 120))


def local(directory: Path, **more: Any) -> dict[str, Any]:
    return {"type": "qwen_vl", "weights": str(directory), "dtype": "float32", "devices": ["cpu"], **more}


def test_score_logit_is_the_expectation_of_the_models_digits(digits: Path, scorer: QwenVLBackend) -> None:
    found, identity = judge({"type": "score_logit", "backend": local(digits)}, REQUESTS)
    assert identity.startswith("score-logit-form/1 resize=none by qwen-vl/1 ")
    assert len({verdict.score for verdict in found}) == len(REQUESTS)
    for verdict in found:
        assert isinstance(verdict, Judgement) and 0 < verdict.score < 1
        assert verdict.axes["expected_digit"].value == pytest.approx(5 * verdict.score)
        assert verdict.validity["digit_mass"] > 0.5 and verdict.validity["entropy"] > 0
        assert (verdict.validity["digits_seen"], verdict.validity["score_error"]) == (6, 0)
    alone = [
        judge({"type": "score_logit", "backend": local(digits)}, [request])[0][0] for request in REQUESTS[:2]
    ]
    assert [verdict.score for verdict in alone] == pytest.approx([v.score for v in found[:2]], abs=1e-5)


def test_a_model_that_would_say_something_else_gives_no_score(model: Path) -> None:
    (fault,), _ = judge({"type": "score_logit", "backend": local(model)}, REQUESTS[:1])
    assert isinstance(fault, RecordError) and fault.kind is ErrorKind.judge_failed
    assert "below min_mass 0.5; the likeliest are " in str(fault)


@pytest.mark.parametrize("kind", ["viescore", "editscore", "imgedit", "pairwise"])
def test_nonsense_fails_and_is_quoted(model: Path, kind: str) -> None:
    more = {"imgedit": {"task": "add"}, "editscore": {"passes": 2}}.get(kind, {})
    backend = local(model, sampling={"max_tokens": 16, "temperature": 0.7})
    found, _ = judge({"type": kind, "backend": backend, **more}, REQUESTS[:2])
    for fault in found:
        assert isinstance(fault, RecordError) and fault.kind is ErrorKind.judge_failed
        assert str(fault).startswith("the judge's answer can't be used: ")


# An endpoint that serves the same model


class Serving:
    """Answers a chat endpoint's requests by a tiny model: the likeliest 20 first tokens."""

    def __init__(self, backend: QwenVLBackend) -> None:
        self._backend = backend
        self.least = 0.0
        """Tokens less likely than this are not told of."""

    def __call__(self, asked: Asked) -> Said:
        from mira_batch.core.identity import frame_of

        assert asked.body["max_tokens"] == 1 and asked.body["top_logprobs"] == 20 and asked.body["logprobs"]
        parts = (*(frame_of(image) for image in asked.images), asked.text)
        row: Any = self._backend._encode(Prompt(asked.system, parts))
        top = self._backend._score_first_token([row])[0].topk(20)
        tokens = (self._backend.processor.tokenizer.decode([id_]) for id_ in top.indices.tolist())
        said = list(zip(tokens, top.values.tolist(), strict=True))
        return Said(token_json([one for one in said if math.exp(one[1]) >= self.least]))


def test_an_endpoint_gives_the_score_of_the_model_that_it_serves(
    digits: Path, scorer: QwenVLBackend, server: ModelServer, clean_environment: None
) -> None:
    serving = server.script = Serving(scorer)
    served = {"type": "openai", "model": "tiny", "base_url": server.url}
    here, _ = judge({"type": "score_logit", "backend": local(digits, max_batch=1)}, REQUESTS)
    there, _ = judge({"type": "score_logit", "backend": served}, REQUESTS)
    for near, far in zip(here, there, strict=True):
        assert far.score == pytest.approx(near.score, abs=1e-6)
        for name in ("digit_mass", "entropy", "digits_seen"):
            assert far.validity[name] == pytest.approx(near.validity[name], abs=1e-4)
        assert far.validity["unseen_mass"] == 0.0
    serving.least = 0.04  # digits drop out of what it tells of
    cut, _ = judge({"type": "score_logit", "backend": served, "min_mass": 0.1}, REQUESTS)
    assert any(verdict.validity["digits_seen"] < 6 for verdict in cut)
    for near, far in zip(here, cut, strict=True):
        assert abs(far.score - near.score) <= far.validity["score_error"] + 1e-9


def test_a_cut_off_answer_is_marked(model: Path) -> None:
    (answer,) = backend_of(model, sampling={"max_tokens": 16}).answer(questions()[:1])
    assert isinstance(answer, Answer) and isinstance(answer.text, CutOff)
