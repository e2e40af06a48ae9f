"""Samples as a model is trained on them: what it will be asked, token for token, and then the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mira_batch.config.models.local import PromptConfig
from mira_batch.core.errors import ConfigError
from mira_batch.models.qwen.policy import QwenVLPolicy
from mira_batch.train.encoding import SampleEncoder, build_request
from mira_batch.train.losses import IGNORED
from tests.support.models.tiny import policy_of
from tests.support.samples import make_sample

PROMPT = {"guidance": "Keep the brand's colours.", "history": True}


@pytest.fixture(scope="module", params=["qwen2.5-vl", "qwen3-vl"])
def policy(request: pytest.FixtureRequest, tiny_models: Path) -> QwenVLPolicy:
    return policy_of(tiny_models / request.param, prompt=PROMPT)


@pytest.fixture
def encoder(policy: QwenVLPolicy) -> SampleEncoder:
    return SampleEncoder(policy.processor, policy.model, PromptConfig.model_validate(PROMPT))


@pytest.mark.parametrize("number", [0, 1, 3, 5])  # one image; two; a stop; two that are the same
def test_the_question_is_the_one_that_the_policy_is_asked(
    policy: QwenVLPolicy, encoder: SampleEncoder, number: int
) -> None:
    sample = make_sample(number)
    asked: Any = policy.encode(build_request(sample))
    row = encoder.encode_sample(sample)
    length = asked["input_ids"].shape[1]
    assert row["input_ids"][:, :length].equal(asked["input_ids"])
    assert row["pixel_values"].equal(asked["pixel_values"])
    assert row["image_grid_thw"].shape[0] == (2 if number in (1, 3) else 1)
    assert set(row) == {*asked, "labels"}


def test_the_answer_alone_is_learned_with_its_end(policy: QwenVLPolicy, encoder: SampleEncoder) -> None:
    sample = make_sample(4)
    row = encoder.encode_sample(sample)
    labels = row["labels"][0]
    learned = labels[labels != IGNORED]
    assert policy.processor.tokenizer.decode(learned) == sample["answer"] + "<|im_end|>"
    assert row["input_ids"][0, -len(learned) :].equal(learned)
    assert (labels != IGNORED).nonzero()[0] == policy.encode(build_request(sample))["input_ids"].shape[1]  # type: ignore[index]


def test_the_end_is_the_one_that_the_models_own_template_writes(
    policy: QwenVLPolicy, encoder: SampleEncoder
) -> None:
    from mira_batch.core.prompt import build_prompt

    sample = make_sample(4)
    prompt = build_prompt(build_request(sample), PROMPT["guidance"])  # type: ignore[arg-type]
    content = [{"type": "text", "text": p} if isinstance(p, str) else {"type": "image"} for p in prompt.parts]
    turns = [
        {"role": "system", "content": [{"type": "text", "text": prompt.system}]},
        {"role": "user", "content": content},
        {"role": "assistant", "content": [{"type": "text", "text": sample["answer"]}]},
    ]
    text = policy.processor.apply_chat_template(turns, tokenize=False)
    row = encoder.encode_sample(sample)
    image = policy.processor.tokenizer.decode([policy.model.config.image_token_id])
    ours = policy.processor.tokenizer.decode(row["input_ids"][0])
    while image * 2 in ours:
        ours = ours.replace(image * 2, image)
    assert text.rstrip("\n") == ours


def test_rows_are_padded_on_the_right_and_nothing_of_them_changes(encoder: SampleEncoder) -> None:
    rows = [encoder.encode_sample(make_sample(number)) for number in (0, 1)]
    batch = encoder.collate(rows, ["a", "b"])
    for place, row in enumerate(rows):
        length = row["input_ids"].shape[1]
        for name in ("input_ids", "labels"):
            assert batch[name][place, :length].equal(row[name][0])
        assert int(batch["attention_mask"][place].sum()) == length
        assert (batch["labels"][place, length:] == IGNORED).all()
    assert batch["pixel_values"].equal(torch.cat([row["pixel_values"] for row in rows]))


def test_a_row_means_the_same_alone_and_among_others(policy: QwenVLPolicy, encoder: SampleEncoder) -> None:
    from mira_batch.train.measure import score_answers

    rows = [encoder.encode_sample(make_sample(number)) for number in (0, 1, 3)]
    together = score_answers(policy.model, [encoder.collate(rows, ["a", "b", "c"])])
    alone = score_answers(policy.model, [encoder.collate([row], ["a"]) for row in rows])
    assert together.loss == pytest.approx(alone.loss, rel=1e-5)
    assert (together.right, together.tokens) == (alone.right, alone.tokens)
    assert together.tokens == sum(int((row["labels"] != IGNORED).sum()) for row in rows)


def test_a_cut_row_is_an_error_that_names_its_sample(encoder: SampleEncoder) -> None:
    rows = [encoder.encode_sample(make_sample(number)) for number in (0, 1)]
    image = (rows[1]["input_ids"][0] == encoder._image).nonzero()[0]
    per_token = ("input_ids", "attention_mask", "labels", "mm_token_type_ids")
    cut = {
        name: value[:, int(image) + 1 :] if name in per_token else value for name, value in rows[1].items()
    }
    with pytest.raises(ConfigError, match="^sample-b: .*; they were cut"):
        encoder.collate([rows[0], cut], ["sample-a", "sample-b"])
    fewer = {**rows[1], "pixel_values": rows[1]["pixel_values"][4:]}
    with pytest.raises(ConfigError, match="sample-a, sample-b: images of"):
        encoder.collate([rows[0], fewer], ["sample-a", "sample-b"])


def test_what_the_model_has_no_room_for_is_never_cut(encoder: SampleEncoder) -> None:
    sample = make_sample(0, instruction="make it red and then green " * 900)
    with pytest.raises(
        ConfigError, match=rf"sample {sample['sample_id']}: question and answer have .* nothing is cut"
    ):
        encoder.encode_sample(sample)


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"answer": "make it red"}, "its answer is malformed: no <edit>"),
        ({"answer": None}, "its answer is malformed"),
        ({"original": {"bytes": None, "path": "a.png"}}, "its original image is not in the file"),
        ({"original": {"bytes": b"GIF", "path": None}}, "its original image"),
    ],
)
def test_a_bad_sample_is_named(encoder: SampleEncoder, other: dict[str, Any], problem: str) -> None:
    sample = make_sample(0, **other)
    with pytest.raises(ConfigError, match=f"^sample {sample['sample_id']}: {problem}"):
        encoder.encode_sample(sample)


def test_blank_images_have_the_same_tokens(encoder: SampleEncoder) -> None:
    for number in (0, 1, 3):
        seen, blank = (encoder.encode_sample(make_sample(number), blank) for blank in (False, True))
        assert seen["input_ids"].equal(blank["input_ids"])
        assert not seen["pixel_values"].equal(blank["pixel_values"])
