"""What a counterfactual will take, before it begins."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from mira_batch.config.counterfactual import CounterfactualConfig
from mira_batch.train.counterfactual.states import list_laid, list_states
from mira_batch.train.counterfactual.trajectories import Chosen


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tried, and what that takes."""

    rows: dict[str, int]
    """Of the run: chosen, not_chosen, and left out as failed, without_steps or too_long."""
    steps: int
    """Of the chosen trajectories."""
    states: int
    """That the policy goes on from."""
    continuations: int
    """From all of them."""
    drops: int
    """Trajectories that are made again without a step."""
    judgings: int
    """Calls of the judge, all told, the ends as they were among them."""
    edits: int
    """Expected: as many from each state as the trajectory itself made from there, and those laid down."""
    most_edits: int
    """If each continuation goes on to `limits.max_steps`."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of policy and editor, by what the trajectories themselves took for an edit."""
    cost: float = 0.0
    """US dollars of endpoints, by the same; without those of the judge."""

    def dump(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    def describe(self) -> list[str]:
        """In words, a line each."""
        left = [
            f"{kind.replace('_', ' ')} {count:,}"
            for kind, count in self.rows.items()
            if kind != "chosen" and count
        ]
        lines = [
            f"{self.rows['chosen']:,} trajectories of {self.steps:,} steps"
            + (f"; of the run's others {', '.join(left)}" if left else ""),
            f"{self.states:,} states, {self.continuations:,} continuations; {self.drops:,} without a step",
            f"about {self.edits:,} edits (at most {self.most_edits:,}), {self.judgings:,} judgings",
        ]
        took = [f"{kind} {seconds / 3600:,.2f} h" for kind, seconds in self.seconds.items() if seconds >= 1]
        if took or self.cost:
            dollars = (
                [f"{self.cost:,.2f} US dollars of endpoints, the judge's not counted"] if self.cost else []
            )
            lines.append(f"by what the run took for an edit: {', '.join([*took, *dollars])}")
        return lines


def make_plan(config: CounterfactualConfig, chosen: Chosen, max_steps: int) -> Plan:
    """What a counterfactual will take.

    Args:
        config: of it.
        chosen: the trajectories.
        max_steps: most edits of a record, by the run.
    """
    states = [branch["steps"] for _, _, branch in list_states(chosen.trajectories)]
    lengths = [len(each.edits) for each, _, _ in list_states(chosen.trajectories)]
    laid = [len(branch.get("edits", ())) for _, _, branch in list_laid(chosen.trajectories, config.drops > 0)]
    tries, times = config.continuations, max(config.drops, 1)
    rest = sum(length - steps for length, steps in zip(lengths, states, strict=True))
    most = sum(max(max_steps - steps, 0) for steps in states)
    steps = sum(len(each.edits) for each in chosen.trajectories)
    edits = tries * rest + times * sum(laid)
    shares = {
        kind: sum(each.seconds.get(kind, 0.0) for each in chosen.trajectories) / steps * edits
        for kind in ("policy", "editor")
    }
    return Plan(
        chosen.counts,
        steps,
        len(states),
        tries * len(states),
        times * (len(laid) - len(chosen.trajectories)),
        tries * len(states) + times * len(laid),
        edits,
        tries * most + times * sum(laid),
        shares,
        sum(each.cost for each in chosen.trajectories) / steps * edits,
    )
