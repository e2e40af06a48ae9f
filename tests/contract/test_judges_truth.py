"""The judges without weights against known truth: pairs of results of which one is better by construction.
The figures by kind are those of docs/judges.md."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from pydantic import TypeAdapter

from mira_batch.config.models import JudgeConfig
from mira_batch.core.identity import frame_of
from mira_batch.core.pairs import PairRequest
from mira_batch.core.ports import EditRequest
from mira_batch.models.embedded import PillowEditor
from mira_batch.models.embedded.grammar.parse import parse
from mira_batch.models.loader import load_pair_judge
from tests.support import ROOT
from tests.unit.imaging.edits import NAMES, from_levels, photograph, saved, tint

SIZE = WIDTH, HEIGHT = 384, 288
WHOLE = {
    "rotate it a quarter turn clockwise, then make it sepia": "turn it counterclockwise; make it sepia",
    "crop it square and shrink it to 50%": "crop it to 16:9 and shrink it to 50%",
    "brighten it by 20% and put a 4 px red border around it": "darken it by 20% and put a 4 px red border",
    "flip it upside down; invert the colours; sharpen it": "mirror it; invert the colours; sharpen it",
    "tint it #ff8800 by 30%, add a 5% white margin": "tint it #0088ff by 30%, add a 5% white margin",
    'write "SALE" in large red letters at the top left, mirror the image': (
        'write "SOLD" in large red letters at the top left, mirror the image'
    ),
}
"""What is asked, and another edit in its place."""
LOCAL = {
    'write "SALE" in large red letters at the bottom right': 'write "SOLD" in large red letters at the top',
    'write "NEW" in medium blue letters at the top left': 'write "NEW" in medium red letters at the top left',
    'add a watermark "ACME" in the center': 'add a watermark "EMCA" in the center',
}
LIMITS = {
    "max_shift": 1,
    "max_delta_e": 2,
    "max_delta_e_p95": 4,
    "max_changed_share": 0.15,
    "min_sharpness_ratio": 0.7,
    "max_noise_added": 2,
    "max_alpha_loss": 0.05,
}
"""For edits of a part of the picture."""


@dataclass(frozen=True)
class Pair:
    kind: str
    asked: str
    original: Image.Image
    better: Image.Image
    worse: Image.Image


@cache
def small(name: str) -> Image.Image:
    return photograph(name, *SIZE)


def edit(image: Image.Image, instruction: str, most: int | None = None) -> Image.Image:
    """What the embedded editor makes of the first so many edits of an instruction."""
    editor, original = PillowEditor(), frame_of(image)
    frame = original
    for step, operation in enumerate(parse(instruction)[:most]):
        (made,) = editor.apply([EditRequest("r", operation.describe(), frame, original, 0, step)])
        frame = frame_of(made)
    return frame.pixels


def patch(image: Image.Image) -> Image.Image:
    """A rectangle painted where nothing was asked for."""
    painted = image.copy()
    width, height = image.size
    box = (width // 8, height // 3, width // 4, height // 2)
    ImageDraw.Draw(painted).rectangle(box, fill=(40, 160, 90))
    return painted


def pair_up_whole_edits() -> Iterator[Pair]:
    for name in NAMES:
        original = small(name)
        for asked, other in WHOLE.items():
            right, partly = edit(original, asked), edit(original, asked, 1)
            moved = right.transform(right.size, Image.Transform.AFFINE, (1, 0, 3, 0, 1, 1))
            for kind, better, worse in (
                ("nothing done", right, original),
                ("partly done", right, partly),
                ("nothing against partly done", partly, original),
                ("another edit", right, edit(original, other)),
                ("one edit too many", right, edit(original, f"{asked}; posterize the image to 4 levels")),
                ("a patch elsewhere", right, patch(right)),
                ("moved by 3 pixels", right, moved),
                ("nothing against JPEG", saved(right, "JPEG", quality=90), original),
            ):
                yield Pair(kind, asked, original, better, worse)


def pair_up_local_edits() -> Iterator[Pair]:
    soft = Image.new("L", SIZE)
    ImageDraw.Draw(soft).ellipse((40, 30, 340, 260), fill=255)
    soft = soft.filter(ImageFilter.GaussianBlur(6))
    hard = soft.point(lambda level: 255 if level > 127 else 0)
    for place, name in enumerate(NAMES):
        original, other = small(name), small(NAMES[(place + 3) % len(NAMES)])
        noise = np.random.default_rng(place).normal(0, 6, (HEIGHT, WIDTH, 3))
        for asked, wrong in LOCAL.items():
            right = edit(original, asked)
            replaced = right.copy()
            replaced.paste(other.resize((WIDTH // 2, HEIGHT // 2)), (100, 60))
            for kind, worse in (
                ("moved by 3 pixels", edit(photograph(name, *SIZE, 3, -1), asked)),
                ("tinted", tint(right, (1.15, 1, 0.85))),
                ("brightened", tint(right, (1.15, 1.15, 1.15))),
                ("blurred", right.filter(ImageFilter.GaussianBlur(1.5))),
                ("noisy", from_levels(np.asarray(right) + noise)),
                ("a quarter replaced", replaced),
                ("nothing done", original),
                ("another edit", edit(original, wrong)),
                ("a patch elsewhere", patch(right)),
            ):
                yield Pair(kind, asked, original, right, worse)
            cut = [image.copy() for image in (original, right, right)]
            for image, alpha in zip(cut, (soft, soft, hard), strict=True):
                image.putalpha(alpha)
            yield Pair("soft edges made hard", asked, *cut)


def ask(judge: dict[str, Any], pairs: list[Pair]) -> dict[str, Counter[str]]:
    """How often the judge is right, sees a tie, or is wrong, by kind. The better one is now the first, now
    the second."""
    config = TypeAdapter(JudgeConfig).validate_python(judge)
    requests = []
    for number, pair in enumerate(pairs):
        shown = (frame_of(pair.worse), frame_of(pair.better))[:: 1 if number % 2 else -1]
        requests.append(PairRequest(str(number), pair.asked, frame_of(pair.original), *shown))

    async def main() -> list[float]:
        clients = load_pair_judge(config, 60)
        try:
            answers = await asyncio.gather(*map(clients["judge"].submit, requests))
            return [timed.value.score for timed in answers]
        finally:
            await clients.close()

    found: dict[str, Counter[str]] = defaultdict(Counter)
    for number, (pair, score) in enumerate(zip(pairs, asyncio.run(main()), strict=True)):
        of_better = score if number % 2 else 1 - score
        found[pair.kind][{1.0: "right", 0.5: "tie", 0.0: "wrong"}[of_better]] += 1
    return found


def read_table(judge: str) -> dict[str, tuple[int, int]]:
    """Kind -> how often the judge is right, of how many, as the document says."""
    found = {}
    for line in (ROOT / "docs" / "judges.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0] == f"`{judge}`":
            right, _, pairs = cells[2].partition(" of ")
            found[cells[1]] = int(right), int(pairs)
    return found


def check(judge: str, settings: dict[str, Any], pairs: list[Pair], blind: set[str]) -> None:
    """It is right in nine of ten pairs of the kinds that it is for; of the others it sees a tie, and never
    prefers the worse one."""
    found = ask({"type": judge, **settings}, pairs)
    assert {kind: (each["right"], each.total()) for kind, each in found.items()} == read_table(judge)
    seen = [each for kind, each in found.items() if kind not in blind]
    assert sum(each["right"] for each in seen) >= 0.9 * sum(each.total() for each in seen)
    assert not any(each["wrong"] for each in found.values())
    assert all(found[kind]["tie"] == found[kind].total() for kind in blind)


def test_rules_know_the_truth_of_exact_edits() -> None:
    check("rules", {}, list(pair_up_whole_edits()), {"nothing against JPEG"})


def test_fidelity_knows_what_was_to_be_left_alone() -> None:
    blind = {"nothing done", "another edit", "a patch elsewhere"}
    check("fidelity", LIMITS, list(pair_up_local_edits()), blind)
