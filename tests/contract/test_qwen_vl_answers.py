"""Answers of a Qwen-VL policy, in a batch as alone and drawn by the seed, with tiny models of both kinds."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mira_batch.core.actions import parse_action
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.thoughts import CutOff
from mira_batch.models.qwen.model import collate
from mira_batch.models.qwen.policy import QwenVLPolicy
from tests.contract.qwen_requests import DRAWN, GREEDY, requests
from tests.support.models.tiny import FIRST, THEN, policy_of, trained_policy


def alone(policy: QwenVLPolicy, asked: Sequence[PolicyRequest]) -> list[Any]:
    return [policy.propose([request])[0] for request in asked]


@pytest.fixture(scope="module")
def drawn(model: Path) -> QwenVLPolicy:
    return policy_of(model, sampling=DRAWN)


@pytest.fixture(scope="module", params=[GREEDY, DRAWN], ids=["greedy", "drawn"])
def policy(model: Path, request: pytest.FixtureRequest) -> QwenVLPolicy:
    return policy_of(model, sampling=request.param)


# Batches


def test_a_batch_answers_token_for_token_as_its_requests_alone(policy: QwenVLPolicy) -> None:
    asked = requests()
    answers = policy.propose(asked)
    assert list(answers) == alone(policy, asked)
    assert len(set(answers)) > 2


def test_neither_neighbours_nor_the_place_change_an_answer(policy: QwenVLPolicy) -> None:
    asked = requests()
    there = policy.propose([asked[1], asked[0]])
    here = policy.propose([asked[0], replace(asked[3], instruction="x"), asked[1], asked[4]])
    assert (there[1], there[0]) == (here[0], here[2])


def test_padding_on_the_right_would_change_answers(drawn: QwenVLPolicy) -> None:
    """That rows are padded on the left is what makes a batch equal to its rows alone."""
    import torch

    short, long = (drawn.encode(request) for request in requests()[:2])
    assert not isinstance(short, RecordError) and not isinstance(long, RecordError)
    batch = collate([short, long], pad=0)
    missing = batch["input_ids"].shape[1] - short["input_ids"].shape[1]
    assert missing > 50
    right = {
        name: torch.cat([value[:1].roll(-missing, 1), value[1:]])
        if value.shape == (2, value.shape[1])
        else value
        for name, value in batch.items()
        if name in ("input_ids", "attention_mask", "mm_token_type_ids")
    }
    kept = {name: value for name, value in batch.items() if name not in right}

    def texts(padded: dict[str, Any]) -> Any:
        out = drawn.model.generate(**padded, **kept, max_new_tokens=8, do_sample=False)
        return out[:, batch["input_ids"].shape[1] :].tolist()

    single = drawn.model.generate(**short, max_new_tokens=8, do_sample=False)
    expected = single[0, short["input_ids"].shape[1] :].tolist()
    assert texts({name: batch[name] for name in right})[0] == expected
    assert texts(right)[0] != expected


def test_calls_at_the_same_time_run_one_after_another(drawn: QwenVLPolicy) -> None:
    """generate() keeps M-RoPE offsets on the model, so two at once might take one another's."""
    asked = requests()[:2]
    expected = alone(drawn, asked)
    found: dict[int, Any] = {}
    forwards: list[int] = []

    def pause(module: Any, args: Any) -> None:
        forwards.append(threading.get_ident())
        time.sleep(0.002)  # lets the other thread in, if it may

    def ask(which: int) -> None:
        found[which] = drawn.propose([asked[which]])[0]

    hook = drawn.model.register_forward_pre_hook(pause)
    threads = [threading.Thread(target=ask, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hook.remove()
    assert found == dict(enumerate(expected))
    assert len(forwards) > 10
    assert sum(one != next_ for one, next_ in pairwise(forwards)) == 1


# Proposals at one state


def ask_again(request: PolicyRequest, times: int) -> list[PolicyRequest]:
    return [replace(request, record_id=f"{request.record_id}-{n}", seed=100 + n) for n in range(times)]


@pytest.fixture
def several() -> list[PolicyRequest]:
    """Questions of several proposals each, and some that are asked once, of many lengths, all mixed."""
    first, second, third, fourth, _ = requests()
    asked = [*ask_again(first, 3), *ask_again(second, 3), third, *ask_again(fourth, 2)]
    return [asked[place] for place in (3, 0, 6, 1, 7, 4, 2, 8, 5)]


def test_proposals_at_one_state_are_as_each_would_be_alone(
    policy: QwenVLPolicy, several: list[PolicyRequest]
) -> None:
    policy.log_tokens = True
    try:
        together, apart = policy.propose(several), alone(policy, several)
    finally:
        policy.log_tokens = False
    assert together == apart
    for one, other in zip(together, apart, strict=True):
        assert one.tokens.ids == other.tokens.ids
        assert one.tokens.logprobs == pytest.approx(other.tokens.logprobs, abs=5e-5)  # float32


def test_their_prompt_is_run_once(drawn: QwenVLPolicy, several: list[PolicyRequest]) -> None:
    shown, run = list[int](), list[tuple[int, ...]]()

    def see(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        shown.append(0 if kwargs.get("image_grid_thw") is None else len(kwargs["image_grid_thw"]))
        run.append(tuple(kwargs["input_ids"].shape))

    hook = drawn.model.register_forward_pre_hook(see, with_kwargs=True)
    try:
        drawn.propose(several)
    finally:
        hook.remove()
    assert (run[0][0], shown[0]) == (4, 1 + 2 + 1 + 2)  # distinct prompts, and their images
    assert set(run[1:]) == {(9, 1)} and not any(shown[1:])


def test_questions_that_differ_in_a_pixel_or_a_word_are_not_taken_for_equal(drawn: QwenVLPolicy) -> None:
    one = requests()[0]
    pixels = one.current.pixels.copy()
    pixels.putpixel((0, 0), tuple(255 - value for value in pixels.getpixel((0, 0))))
    other = replace(one, current=frame_of(pixels), original=frame_of(pixels))
    word = replace(one, instruction="make it darker")
    rows = drawn._encode_all([drawn._build_prompt(each) for each in (one, other, word, one)])
    assert rows[0] is rows[3]
    assert len({id(row) for row in rows}) == 3


# Answers that are not whole


def test_an_answer_that_reaches_its_token_limit_is_marked(tiny_models: Path) -> None:
    """A model that has learned two answers; the longer one doesn't fit, and its neighbour in the batch is
    none the worse."""
    asked = requests()[:2]
    policy = policy_of(trained_policy(tiny_models))
    whole = policy.propose(asked)
    assert [parse_action(str(answer)) for answer in whole] == [FIRST, THEN]
    assert not any(isinstance(answer, CutOff) for answer in whole)
    long, short = (len(policy.processor.tokenizer(text)["input_ids"]) for text in whole)
    assert long > short + 1
    rows: list[Any] = [policy.encode(request) for request in asked]
    found = policy._generate(rows, [1, 2], short + 1)  # fewer than the config allows
    assert [isinstance(answer, CutOff) for answer in found] == [True, False]
    assert found[1] == whole[1]


def test_a_chat_template_that_opens_a_thought_begins_the_answer(model: Path, tmp_path: Path) -> None:
    """As those of thinking models do: what such a model writes before it ends its thought is no answer."""
    shutil.copytree(model, tmp_path / "copy")
    template = tmp_path / "copy" / "chat_template.jinja"
    template.write_text(template.read_text() + "{{ '<think>\\n' }}")
    (found,) = policy_of(tmp_path / "copy", sampling=GREEDY).propose(requests()[:1])
    (plain,) = policy_of(model, sampling=GREEDY).propose(requests()[:1])
    assert str(found).startswith("<think>") and not str(plain).startswith("<think>")


# Draws


def test_the_seed_alone_decides_a_draw(drawn: QwenVLPolicy) -> None:
    request = requests()[0]
    seeds = [1, 1, 2, 2**63 - 1]
    answers = drawn.propose([replace(request, seed=seed) for seed in seeds])
    assert answers[0] == answers[1]
    assert len(set(answers)) == 3


def test_greedy_answers_do_not_ask_for_the_seed(greedy: QwenVLPolicy) -> None:
    request = requests()[0]
    assert len(set(greedy.propose([replace(request, seed=seed) for seed in range(3)]))) == 1


def test_special_tokens_are_never_said(model: Path) -> None:
    """Even when the model wants nothing else; one image placeholder would crash the step after it."""
    import torch

    policy = policy_of(model, sampling=DRAWN)
    tokenizer = policy.processor.tokenizer
    special = set(tokenizer.all_special_ids)
    ends = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|endoftext|>")}
    head = policy.model.get_output_embeddings()
    unwanted = [*sorted(special - ends), *range(len(tokenizer), head.out_features)]
    assert len(unwanted) > 12
    bias = torch.zeros(head.out_features)
    bias[unwanted] = 1e4
    hook = head.register_forward_hook(lambda module, args, logits: logits + bias)
    said: list[int] = []

    def listen(module: Any, args: Any) -> None:
        if args[0].shape[1] == 1:  # not the prompt, but a token that was just said
            said.extend(args[0].flatten().tolist())

    hooks = [hook, policy.model.get_input_embeddings().register_forward_pre_hook(listen)]
    answers = policy.propose(requests()[:2])
    for each in hooks:
        each.remove()
    assert all(isinstance(answer, str) for answer in answers)
    assert len(said) > 10
    assert not set(said) & set(unwanted)


def test_a_checkpoints_own_sampling_does_not_count(greedy: QwenVLPolicy, model: Path, tmp_path: Path) -> None:
    """Qwen's own files ask for sampling and a penalty on repetition; the config of the run decides."""
    shutil.copytree(model, tmp_path / "copy")
    file = tmp_path / "copy" / "generation_config.json"
    own = {"do_sample": True, "temperature": 2.0, "top_k": 5, "repetition_penalty": 1.9}
    file.write_text(json.dumps({**json.loads(file.read_text()), **own}))
    asked = requests()
    assert policy_of(tmp_path / "copy", sampling=GREEDY).propose(asked) == greedy.propose(asked)


def test_bfloat16_answers_too(model: Path) -> None:
    policy = policy_of(model, sampling=DRAWN, dtype="bfloat16")
    assert str(policy.model.dtype) == "torch.bfloat16"
    asked = requests()
    assert policy.propose(asked) == policy.propose(asked)
    assert all(isinstance(answer, str) for answer in policy.propose(asked))
