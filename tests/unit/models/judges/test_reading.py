"""What of a judge's words counts as its scores: exactly those that were asked for, or a failure."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mira_batch.core.thoughts import CutOff
from mira_batch.models.judges.reading import Unreadable, read_lines, read_scores

SC = ("success", "overediting")
AXES = ("Prompt Compliance", "Visual Naturalness", "Physical & Detail Integrity")


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ('{"score": [8, 7], "reasoning": "fine"}', (8, 7)),
        ('{"reasoning": "fine", "score": [8.5, 0]}', (8.5, 0)),
        ('{"score": [10, 10]}', (10, 10)),
        ('```json\n{"score": [8, 7]}\n```', (8, 7)),
        ('||V^=^V||\n{"score" : [8, 7],\n"reasoning" : "x"}\n||V^=^V||', (8, 7)),
        ('Here you are: {"score": [8, 7]} I hope that helps.', (8, 7)),
        ('{"score": ["8/10", "7"]}', (8, 7)),
        ('{"score": [8, 7], "reasoning": "a set {of braces}"}', (8, 7)),
        ('<think>{"score": [1, 1]}? no</think>{"score": [8, 7]}', (8, 7)),
        ('{"score": [8, 7], "reasoning": "编辑得很好，没有多余的改动"}', (8, 7)),
        ('Bewertung: {"score": [8, 7], "reasoning": "Der Hut fehlt nicht mehr."}', (8, 7)),
        ('{"score": [8, 7], "reasoning": "I\'m sorry for the hat, which is crooked"}', (8, 7)),
    ],
)
def test_scores_in_json(text: str, scores: tuple[float, ...]) -> None:
    assert read_scores(text, SC, 10)[0] == scores


@pytest.mark.parametrize("why", ["I'm sorry, I can't assist with that.", "Unable to evaluate these images."])
def test_zeros_of_a_model_that_declines_are_no_scores(why: str) -> None:
    with pytest.raises(Unreadable, match="its zeros stand for a refusal") as caught:
        read_scores(json.dumps({"score": [0, 0], "reasoning": why}), SC, 10)
    assert caught.value.is_refusal
    assert read_scores(json.dumps({"score": [0, 1], "reasoning": why}), SC, 10)[0] == (0, 1)
    assert read_scores('{"score": [0, 0], "reasoning": "I can\'t see any hat."}', SC, 10)[0] == (0, 0)


def test_a_zero_has_no_sign() -> None:
    assert [math.copysign(1, score) for score in read_scores('{"score": [-0.0, "-0"]}', SC, 10)[0]] == [1, 1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("The edit is good: 8 and 7.", "no JSON object"),
        ("编辑很好，八分。", "no JSON object"),
        ('{"score": [8, 7', "can't be read"),
        (CutOff('{"score": [8, 7]}'), "cut off"),
        ("<think>{'score': [8, 7]}", "cut off"),
        ('{"score": [8, 7]} or {"score": [2, 1]}', "more than one JSON object"),
        ('{"score": [8, 7], "score": [2, 1]}', "a key is given twice"),
        ("{'score': [8, 7]}", "can't be read"),
        ('{"scores": [8, 7]}', "not a list of 2 (success, overediting)"),
        ('{"score": 8}', "not a list of 2"),
        ('{"score": [8]}', "not a list of 2"),
        ('{"score": [8, 7, 6]}', "not a list of 2"),
        ('{"score": [11, 7]}', "success is 11, out of [0, 10]"),
        ('{"score": [8, -1]}', "overediting is -1, out of"),
        ('{"score": [25, 25]}', "out of [0, 10]"),
        (f'{{"score": [{"9" * 400}, 7]}}', "success is far too large, out of [0, 10]"),
        ('{"score": ["4/5", 7]}', "success is of 5, not of 10"),
        ('{"score": ["eight", 7]}', "success is no number: 'eight'"),
        ('{"score": ["7-8", 7]}', "no number"),
        ('{"score": ["８", 7]}', "no number"),
        ('{"score": [null, 7]}', "success is no number"),
        ('{"score": [true, 7]}', "no number"),
        ('{"score": [NaN, 7]}', "NaN is no number"),
        ('{"score": [8, 7], "reasoning": 3}', "reasoning is no text"),
    ],
)
def test_what_is_no_list_of_scores_is_never_made_one(text: str, problem: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_scores(text, SC, 10)
    assert problem in str(caught.value) and caught.value.text is text
    assert not caught.value.is_refusal


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        (
            "Brief reasoning: fine.\nPrompt Compliance: 4\nVisual Naturalness: 3\n"
            "Physical & Detail Integrity: 2",
            (4, 3, 2),
        ),
        (
            "**Prompt Compliance**: 4/5\n- Visual Naturalness: **3**\n"
            "3. Physical and Detail Integrity: 2 (nearly)",
            (4, 3, 2),
        ),
        (
            "visual naturalness: 3.\nPROMPT COMPLIANCE：4\n* **Physical & Detail Integrity:** 2.5",
            (4, 3, 2.5),
        ),
        (
            "Prompt Compliance: 4 (out of 5)\n"
            "Visual Naturalness: 3 (2 of 3 hats)\n"
            "Physical & Detail Integrity: 2",
            (4, 3, 2),
        ),
        (
            "理由：很好\nPrompt Compliance: 4\n\nVisual Naturalness: 3\nPhysical & Detail Integrity: 2。",
            (4, 3, 2),
        ),
        (
            "<think>Prompt Compliance: 1</think>\nPrompt Compliance: 4\nVisual Naturalness: 3\n"
            "Physical & Detail Integrity: 2",
            (4, 3, 2),
        ),
    ],
)
def test_scores_in_lines(text: str, scores: tuple[float, ...]) -> None:
    assert read_lines(text, AXES, 1, 5) == scores


REST = "Visual Naturalness: 3\nPhysical & Detail Integrity: 2"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        (REST, "no line of Prompt Compliance"),
        (f"Score: 4\n{REST}", "no line of Prompt Compliance"),
        (f"指令遵循: 4\n{REST}", "no line of Prompt Compliance"),
        (f"Prompt Compliance 4\n{REST}", "no line of Prompt Compliance"),
        (f"Prompt Compliance: 4\nPrompt Compliance: 5\n{REST}", "more than one line of Prompt Compliance"),
        (f"Prompt Compliance: 0\n{REST}", "Prompt Compliance is 0, out of [1, 5]"),
        (f"Prompt Compliance: 6\n{REST}", "out of [1, 5]"),
        (f"Prompt Compliance: 8/10\n{REST}", "is of 10, not of 5"),
        (f"Prompt Compliance: 4 (out of 10)\n{REST}", "is of 10, not of 5"),
        (f"Prompt Compliance: 4 (of 10)\n{REST}", "is of 10, not of 5"),
        (f"Prompt Compliance: 3-4\n{REST}", "no number: '3-4'"),
        (f"Prompt Compliance: 3 or 4\n{REST}", "no number"),
        (f"Prompt Compliance: four\n{REST}", "no number: 'four'"),
        (f"Prompt Compliance: a number from 1 to 5\n{REST}", "no number"),
        (f"Prompt Compliance:\n{REST}", "no number: ''"),
        ('{"Prompt Compliance": 4}', "no line of"),
        (CutOff(f"Prompt Compliance: 4\n{REST}"), "cut off"),
    ],
)
def test_what_is_no_line_of_a_score_is_never_made_one(text: str, problem: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_lines(text, AXES, 1, 5)
    assert problem in str(caught.value) and not caught.value.is_refusal


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that request.",
        "I cannot evaluate images of real people.",
        "Sorry, I am unable to help.",
        "As an AI, I don't look at such images.",
        "抱歉，我无法评价这张图片。",
        "申し訳ありませんが、お手伝いできません。",
        "Es tut mir leid, dabei kann ich nicht helfen.",
        "Je suis désolé, je ne peux pas vous aider.",
        "Lo siento, no puedo ayudar con eso.",
        '{"error": "I can\'t help with that"}',
    ],
)
def test_a_refusal_is_told_from_a_malformed_answer(text: str) -> None:
    for read in (lambda: read_scores(text, SC, 10), lambda: read_lines(text, AXES, 1, 5)):
        with pytest.raises(Unreadable) as caught:
            read()
        assert caught.value.is_refusal


@given(st.text(max_size=120))
def test_any_text_is_read_or_unreadable(text: str) -> None:
    for read in (lambda: read_scores(text, SC, 10)[0], lambda: read_lines(text, AXES, 1, 5)):
        try:
            found = read()
        except Unreadable:
            continue
        assert all(0 <= score <= 10 for score in found)
