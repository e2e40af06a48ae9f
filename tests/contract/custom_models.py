"""Models as a user would bring them: plain classes and a factory each, no base class of ours."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from PIL import ImageChops, ImageOps

from mira_batch.core.ports import EditRequest, Judgement, JudgeRequest, PolicyRequest


class InvertOnce:
    """A policy that asks to invert the image once."""

    identity = "invert-once/1"

    def __init__(self, max_batch: int) -> None:
        self.max_batch = max_batch

    def bucket(self, request: PolicyRequest) -> Hashable:
        return len(request.instruction) % 2

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: PolicyRequest) -> str | Exception:
        if request.record_id.startswith("bad"):
            return ValueError("I don't like this record")
        return "<stop>inverted</stop>" if request.history else "<edit>invert</edit>"


class Invert:
    """An editor that inverts, with a shift by the seed so that the seed shows."""

    identity = "invert/1"
    max_batch = 3

    def bucket(self, request: EditRequest) -> Hashable:
        return request.image.size

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]:
        return [self._edited(request) for request in requests]

    def _edited(self, request: EditRequest) -> object:
        if request.record_id.startswith("bad"):
            return ValueError("I can't draw this record")
        inverted = ImageOps.invert(request.image.pixels.convert("RGB"))
        return ImageChops.offset(inverted, request.seed % 7, 0)


class Width:
    """A judge that likes narrow images."""

    identity = "width/1"
    max_batch = 2

    def bucket(self, request: JudgeRequest) -> Hashable:
        return "any"

    def score(self, requests: Sequence[JudgeRequest]) -> Sequence[Judgement | Exception]:
        return [
            ValueError("no opinion")
            if request.record_id.startswith("bad")
            else Judgement(1 / request.candidate.size[0])
            for request in requests
        ]


def make_policy(max_batch: int = 4) -> InvertOnce:
    return InvertOnce(max_batch)


def make_editor() -> Invert:
    return Invert()


def make_judge() -> Width:
    return Width()
