"""The seeds of questions: the same question is drawn alike, and the same asked again is drawn anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter

from mira_batch.config.models import JudgeConfig
from mira_batch.core.identity import content_hash, frame_of, seed
from mira_batch.core.pairs import PairRequest
from mira_batch.core.ports import JudgeRequest
from mira_batch.models.judges.pairwise import Pairwise
from mira_batch.models.registry import build_protocol

BACKEND = {"type": "openai", "model": "tiny", "base_url": "http://127.0.0.1:1/v1"}
SOURCE, EDITED = (frame_of(Image.new("RGB", (8, 6), colour)) for colour in ("red", "blue"))
RESULT = JudgeRequest("r1", "make it shine", SOURCE, EDITED, "")
PAIR = PairRequest("r1", "make it shine", SOURCE, EDITED, SOURCE)
KINDS: dict[str, dict[str, Any]] = {
    "viescore": {}, "editscore": {"passes": 3, "seed": 7}, "score_logit": {}, "imgedit": {"task": "add"},
    "pairwise": {},
}  # fmt: skip


def seeds_of(kind: str, draw: int = 0) -> list[int]:
    config: Any = TypeAdapter(JudgeConfig).validate_python({"type": kind, "backend": BACKEND, **KINDS[kind]})
    protocol: Any = Pairwise(config) if kind == "pairwise" else build_protocol(config, "judge.model")
    request: Any = PAIR if kind == "pairwise" else RESULT
    return [question.seed for question in protocol.ask(replace(request, draw=draw))]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_asked_again_is_drawn_anew(kind: str) -> None:
    first, second = seeds_of(kind), seeds_of(kind, draw=1)
    assert first == seeds_of(kind) and second == seeds_of(kind, draw=1)
    assert len(first) == len(second) and not {*first} & {*second}


def test_results_are_drawn_as_in_earlier_releases() -> None:
    """Rows that an evaluation has stay comparable with those that it still makes."""
    digests = SOURCE.digest, EDITED.digest
    shown = seed(content_hash(RESULT.instruction, *digests), "judge", 0, 0)
    assert seeds_of("viescore") == [shown, shown]
    assert seeds_of("score_logit") == seeds_of("imgedit") == [shown]
    assert seeds_of("editscore") == [7, 7, 8, 8, 9, 9]
    pair = content_hash(PAIR.instruction, *digests, SOURCE.digest)
    assert seeds_of("pairwise") == [seed(pair, "judge", 0, 0)]


def test_both_orders_of_a_pair_are_asked_again() -> None:
    again = replace(PAIR, draw=1)
    assert (again.swap().first, again.swap().second) == (SOURCE, EDITED)
    assert again.swap().draw == 1
