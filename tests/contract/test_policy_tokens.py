"""The tokens of policies' answers and their log-probabilities, which a trainer that looks again finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mira_batch.core.answers import Answered, Tokens
from mira_batch.core.errors import RecordError
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.thoughts import CutOff
from mira_batch.models.qwen.policy import QwenVLPolicy
from mira_batch.models.serving import EndpointFault
from mira_batch.models.serving.answers import check_text
from tests.contract.qwen_requests import DRAWN, requests
from tests.contract.served_models import POLICY_SERVED, SECRET, asks, config_of, run
from tests.support.models.tiny import policy_of, trained_policy
from tests.support.servers.models import Answer, ModelServer, chat_json

COLD = {"max_tokens": 20, "temperature": 0.6, "top_p": 0.9}
"""What is logged is of neither."""


def say(policy: QwenVLPolicy, asked: list[PolicyRequest]) -> list[Any]:
    policy.log_tokens = True
    try:
        return list(policy.propose(asked))
    finally:
        policy.log_tokens = False


def look_again(policy: QwenVLPolicy, request: PolicyRequest, ids: tuple[int, ...]) -> list[float]:
    """The log-probabilities of an answer's tokens by one teacher-forced forward pass over all of it."""
    import torch

    row = policy.encode(request)
    assert not isinstance(row, RecordError)
    whole = dict(row)
    length = row["input_ids"].shape[1]
    for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
        if name in row:
            more = {"input_ids": torch.tensor([ids])}.get(name)
            fill = torch.full((1, len(ids)), int(name == "attention_mask"), dtype=row[name].dtype)
            whole[name] = torch.cat([row[name], fill if more is None else more], dim=1)
    with torch.inference_mode():
        logits = policy.model(**whole).logits[0, length - 1 : -1].float()
    return logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0].tolist()


@pytest.mark.parametrize("sampling", [DRAWN, COLD], ids=["drawn", "cold"])
def test_log_probabilities_are_those_of_a_forward_pass_over_the_answer(
    model: Path, sampling: dict[str, Any]
) -> None:
    policy = policy_of(model, sampling=sampling)
    asked = requests()
    answers = say(policy, asked)
    assert answers == list(policy.propose(asked))  # no other text for it
    for request, answer in zip(asked, answers, strict=True):
        ids, logprobs = answer.tokens.ids, answer.tokens.logprobs
        assert policy.processor.tokenizer.decode(ids, skip_special_tokens=True) == answer
        assert 0 < len(ids) == len(logprobs) <= 20
        assert logprobs == pytest.approx(look_again(policy, request, ids), abs=1e-4)
    assert len({answer.tokens.ids for answer in answers}) > 2


def test_the_token_that_ends_an_answer_is_one_of_them_and_padding_is_not(tiny_models: Path) -> None:
    policy = policy_of(trained_policy(tiny_models))
    long, short = say(policy, requests()[:2])
    ends = {policy.processor.tokenizer.eos_token_id, policy.processor.tokenizer.pad_token_id}
    assert len(long.tokens.ids) > len(short.tokens.ids)
    for answer in (long, short):
        assert [id_ in ends for id_ in answer.tokens.ids].index(True) == len(answer.tokens.ids) - 1


def test_an_answer_that_was_cut_off_has_its_tokens_too(model: Path) -> None:
    answers = say(policy_of(model, sampling={"max_tokens": 16, "temperature": 1.0}), requests())
    cut = [answer for answer in answers if isinstance(answer, CutOff)]
    assert cut and all(answer.tokens is not None and len(answer.tokens.ids) == 16 for answer in cut)


# Endpoints


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", SECRET)


def ask(server: ModelServer, log_tokens: bool) -> Any:
    async def main() -> Any:
        policy = POLICY_SERVED.model(config_of(POLICY_SERVED, server))
        policy.log_tokens = log_tokens
        try:
            return (await policy.propose(asks())).value
        finally:
            await policy.close()

    return run(main())


@pytest.mark.usefixtures("key")
def test_an_endpoint_is_asked_for_logprobs_only_where_they_are_logged(server: ModelServer) -> None:
    body = chat_json("<stop>done</stop>")
    content = [{"token": "<stop>", "logprob": -0.25, "bytes": None, "top_logprobs": []}]
    content.append({"token": "done", "logprob": -1.5, "bytes": None, "top_logprobs": []})
    body["choices"][0]["logprobs"] = {"content": content, "refusal": None}
    server.script = lambda asked: Answer(body)
    plain, logged = ask(server, False), ask(server, True)
    assert [asked.body.get("logprobs") for asked in server.asked] == [None, True]
    assert plain == logged and not isinstance(plain, Answered)
    assert (logged.tokens.ids, logged.tokens.logprobs) == (None, (-0.25, -1.5))


@pytest.mark.usefixtures("key")
def test_an_endpoint_without_logprobs_is_refused_and_says_why(server: ModelServer) -> None:
    with pytest.raises(EndpointFault, match=r"no logprobs.*output\.tokens"):
        ask(server, True)


@pytest.mark.parametrize(
    ("ids", "logprobs"),
    [(None, (None,)), ((1, 2), (-0.5,)), ((1,), (float("nan"),)), ((1,), (0.7,)), (("a",), (-0.5,))],
)
def test_tokens_that_make_no_sense_fail_the_record(ids: Any, logprobs: Any) -> None:
    with pytest.raises(RecordError, match="the tokens of the policy's answer lack"):
        check_text(Answered("<stop>x</stop>", Tokens(ids, logprobs)))
