"""A world in which the truth is known: records, an editor that fails silently, judges that are in doubt.

Nothing here has pixels. An image is the set of edits that hold in it, and its truth is their share. Models
are those that the loop awaits (`core.ports.Models`). Each answer is drawn from what was asked, so that a run
gives the same again, and strategies are compared on the same records, seeds and moods.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import NormalDist

from mira_batch.core.actions import format_action
from mira_batch.core.identity import content_hash
from mira_batch.core.ports import Axis, EditRequest, Judgement, JudgeRequest, PolicyRequest, Timed
from mira_batch.core.types import Edit, EditTask, Frame, StopAction
from mira_batch.core.usage import Usage
from mira_batch.models.judges.score_logit import DIGITS, HIGHEST, expect_digit

_FREE = Usage()
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class World:
    """What is assumed. Each figure is of a record, an edit or a candidate, drawn anew for each."""

    edits: tuple[float, ...] = (0.25, 0.35, 0.25, 0.15)
    """Chances that a record asks for 1, 2, 3 or 4 edits."""
    fails: float = 0.3
    """Mean chance that an edit fails with a seed."""
    spread: float = 3.0
    """How alike edits are in that: the chances are a beta distribution whose parameters add up to this."""
    spoils: float = 0.3
    """Share of failures that undo an edit made before; the others leave things as they were."""
    notices: float = 0.5
    """Chance that the policy sees, at a step, that an edit it asked for isn't there, and asks again."""
    noise: float = 0.35
    """Standard deviation of the judge's error, of a score in [0, 1], in an image like any other."""
    moods: float = 0.6
    """How much harder some images are to judge: the standard deviation of that error's logarithm."""
    taste: float = 0.08
    """Standard deviation of the error that all images of a record share."""
    tells: bool = True
    """Whether the judge's digits are as spread as its error is large. Else they are as spread on the whole,
    but whatever its error: its entropy says nothing."""
    second: float = 0.5
    """Error of the second judge, over that of the first."""


@dataclass(frozen=True, slots=True)
class Image:
    """What there is to see."""

    edits: int
    """How many edits the record asks for."""
    holds: frozenset[int]
    """Those that are there."""

    @property
    def truth(self) -> float:
        """Share of the edits that are there."""
        return len(self.holds) / self.edits


def make_task(number: int) -> EditTask:
    """The task of a record."""
    return EditTask(f"r{number}", content_hash("record", str(number)), "make it nicer")


def make_original(world: World, number: int) -> Frame:
    """The image of a record as it is given: none of its edits holds."""
    drawn, edits = _draw("edits", f"r{number}"), 1
    for chance in world.edits[:-1]:
        drawn -= chance
        edits += drawn > 0
    return Frame(Image(edits, frozenset()), f"original-{number}")


@dataclass
class Simulation:
    """The models of one run over the world, and how often each was asked."""

    world: World
    calls: Counter[str] = field(default_factory=Counter)

    async def propose(self, request: PolicyRequest) -> Timed[str]:
        """Asks for the first edit that it takes for missing: one never asked for, or rolled back, or one that
        it sees is not there."""
        self.calls["policy"] += 1
        asked = {step.instruction for step in request.history if step.accepted}
        image: Image = request.current.pixels
        for number in range(image.edits):
            name = f"edit {number}"
            seen = _draw("notices", request.record_id, name, str(len(request.history))) <= self.world.notices
            if name not in asked or (number not in image.holds and seen):
                return Timed(format_action(Edit(name)), _FREE)
        return Timed(format_action(StopAction("nothing is missing")), _FREE)

    async def edit(self, request: EditRequest) -> Timed[Frame]:
        """Makes the edit, or silently fails."""
        self.calls["editor"] += 1
        image: Image = request.image.pixels
        wanted, seed = read_edit(request.instruction), str(request.seed)
        holds = image.holds
        if _draw("fails", seed) > _find_chance(self.world, request.record_id, request.instruction):
            holds = holds | {wanted}
        elif holds and _draw("spoils", seed) <= self.world.spoils:
            holds = holds - {sorted(holds)[int(_draw("which", seed) * len(holds) - 1e-12)]}
        return Timed(Frame(replace(image, holds=holds), content_hash(request.image.digest, seed)), _FREE)

    async def score(self, request: JudgeRequest) -> Timed[Judgement]:
        """What the first judge says."""
        self.calls["judge"] += 1
        return Timed(judge(self.world, request, "first"), _FREE)

    async def score_again(self, request: JudgeRequest) -> Timed[Judgement]:
        """What the second one says."""
        self.calls["second judge"] += 1
        return Timed(judge(self.world, request, "second"), _FREE)


def judge(world: World, request: JudgeRequest, name: str) -> Judgement:
    """A verdict in the form of score_logit: digits of 0 to 5 with probabilities, their mean and entropy.

        what it sees   x = truth + taste * z_record + noise * mood * z_image
        digits         p_k proportional to exp(-(k / 5 - x)^2 / (2 w^2)),    w^2 = taste^2 + (noise * mood)^2

    That is what a judge should say which knows how large its errors are, and held all digits alike likely
    before it looked. w is at least 0.05.

    Args:
        world: what is assumed.
        request: what is judged.
        name: first or second, whose errors are drawn apart.
    """
    factor = world.second if name == "second" else 1.0
    candidate, image = request.candidate, request.candidate.pixels
    mood = math.exp(world.moods * _draw_normal("mood", name, candidate.digest))
    told = mood if world.tells else math.exp(world.moods * _draw_normal("told", name, candidate.digest))
    seen = image.truth + factor * world.taste * _draw_normal("taste", name, request.record_id)
    seen += factor * world.noise * mood * _draw_normal("error", name, candidate.digest)
    width = max(0.05, factor * math.hypot(world.taste, world.noise * told))
    weights = {digit: -((int(digit) / HIGHEST - seen) ** 2) / (2 * width**2) for digit in DIGITS}
    most = max(weights.values())
    found = expect_digit({digit: weight - most for digit, weight in weights.items()})
    axes: Mapping[str, Axis] = {"expected_digit": Axis(min(found.value, HIGHEST), 0.0, HIGHEST)}
    score = min(1.0, found.value / HIGHEST)
    return Judgement(score, "", axes, f"simulated {name}", validity={"entropy": found.entropy})


def read_edit(instruction: str) -> int:
    """The number of the edit that the policy names.

    Args:
        instruction: its words.
    """
    return int(instruction.removeprefix("edit "))


@cache
def _find_chance(world: World, record: str, edit: str) -> float:
    """With which chance an edit fails: a draw from a beta distribution, by its integral."""
    if not world.fails:
        return 0.0
    a, b = world.fails * world.spread, (1 - world.fails) * world.spread
    drawn = _draw("chance", record, edit)
    grid = _integrate_beta(a, b)
    place = next(at for at, value in enumerate(grid) if value >= drawn)
    return max(0.0, place - 0.5) / (len(grid) - 1)


@cache
def _integrate_beta(a: float, b: float, parts: int = 400) -> tuple[float, ...]:
    """The cumulative distribution at 0, 1/parts, … 1. By middles, since the density has poles at the ends."""
    density = [((at + 0.5) / parts) ** (a - 1) * (1 - (at + 0.5) / parts) ** (b - 1) for at in range(parts)]
    whole, sums, so_far = sum(density), [0.0], 0.0
    for value in density:
        so_far += value
        sums.append(so_far / whole)
    return (*sums[:-1], 1.0)


def _draw(*parts: str) -> float:
    """A number in (0, 1], drawn from the parts."""
    return (int(content_hash(*parts, size=8), 16) + 1) / 2**64


def _draw_normal(*parts: str) -> float:
    return _NORMAL.inv_cdf(min(max(_draw(*parts), 1e-12), 1 - 1e-12))
