"""Encoded questions are made once, and kept within bounds of memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from mira_batch.train.grpo.learner import Questions


def make(made: list[str], key: str, bytes_: int) -> Callable[[], Mapping[str, Any]]:
    def encode() -> Mapping[str, Any]:
        made.append(key)
        return {"pixel_values": torch.zeros(bytes_, dtype=torch.uint8)}

    return encode


def test_a_question_is_encoded_once() -> None:
    made, questions = list[str](), Questions(100)
    rows = [questions.take(key, make(made, key, 40)) for key in "abab"]
    assert made == ["a", "b"]
    assert rows[0] is rows[2] and rows[1] is rows[3]


def test_the_one_that_was_not_asked_for_longest_makes_room() -> None:
    made, questions = list[str](), Questions(100)
    for key in "abacab":  # c takes the place of b, and b that of c
        questions.take(key, make(made, key, 40))
    assert made == ["a", "b", "c", "b"]


def test_one_that_is_larger_than_all_room_is_given_and_the_others_go() -> None:
    made, questions = list[str](), Questions(100)
    for key, size in (("a", 40), ("big", 400), ("big", 400), ("a", 40), ("a", 40)):
        questions.take(key, make(made, key, size))
    assert made == ["a", "big", "a"]
