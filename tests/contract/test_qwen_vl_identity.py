"""The identity of a Qwen-VL policy and its batch size, with tiny models of both real classes."""

from __future__ import annotations

import shutil
from pathlib import Path

from mira_batch.models.qwen.policy import QwenVLPolicy
from tests.contract.qwen_requests import DRAWN, GREEDY
from tests.support.models.tiny import policy_of


def test_the_identity_names_the_version_of_transformers(greedy: QwenVLPolicy) -> None:
    import transformers

    assert f" transformers={transformers.__version__} " in greedy.identity


def test_the_identity_names_what_decides_the_answers(model: Path) -> None:
    first = policy_of(model, sampling=GREEDY).identity
    assert first == policy_of(model, sampling=GREEDY, max_batch=3, replicas=2).identity
    others = [
        policy_of(model, sampling=DRAWN).identity,
        policy_of(model, "other weights", sampling=GREEDY).identity,
        policy_of(model, sampling=GREEDY, prompt={"guidance": "Never change faces."}).identity,
        policy_of(model, sampling=GREEDY, dtype="bfloat16").identity,
        policy_of(model, sampling=GREEDY, prompt={"form": "short"}).identity,
    ]
    assert len({first, *others}) == 6
    assert " mira-prompt/1 " in first and " mira-short/1 " in others[-1]


def test_where_weights_lie_is_no_part_of_the_identity(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "copy")
    assert policy_of(tmp_path / "copy").identity == policy_of(model).identity


def test_max_batch_is_the_configs_or_its_own(model: Path) -> None:
    assert policy_of(model).max_batch == 8
    assert policy_of(model, max_batch=3).max_batch == 3
