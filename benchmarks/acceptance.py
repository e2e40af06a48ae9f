"""What ways to accept an edit are worth: quality against calls of editor and judges, the truth being known.

The loop is the real one, and so is the panel; the models are those of `acceptance_world.py`. Nobody sleeps,
and nothing is drawn from the clock, so every run gives these figures again.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.acceptance_ways import (
    LADDER,
    STRATEGIES,
    THRESHOLDS,
    UNSURE,
    WORLD,
    WORLDS,
    Outcome,
    compare_to_chance,
    estimate,
    measure_agreement,
    measure_doubt,
    run_strategy,
)
from benchmarks.figure import Bench, Figure, in_table, reported
from mira_batch.evaluate.statistics import Estimate, find_wilson_interval

MAIN, OTHERS = "Ways to accept an edit", "The share of records whose edits all hold, in other worlds"


def _compare_both(found: Mapping[str, Outcome]) -> tuple[Estimate, Estimate]:
    """What is won by choosing where to draw another seed, and where to ask the second judge."""
    seed = compare_to_chance(found["seed if unsure"], [found[name] for name in LADDER], "editor")
    judges = [found["gate"], found["second judge"]]
    return seed, compare_to_chance(found["second if unsure"], judges, "second judge")


def _show(found: Estimate) -> str:
    low, high = found.interval.low, found.interval.high
    return f"{100 * found.value:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"


def strategies(bench: Bench) -> list[Figure]:
    """The main table."""
    records, method = bench.size(4_000, 150), "See the table's first figures."
    figures = []
    for name, strategy in (STRATEGIES | THRESHOLDS).items():
        found = run_strategy(WORLD, strategy, records)
        rate = find_wilson_interval(int(found.whole.sum()), records)
        truth = estimate(found.truth)
        cells = {
            "all edits hold": found.whole.mean(),
            "from": rate.low,
            "to": rate.high,
            "edits that hold": truth.value,
            "from ": truth.interval.low,
            "to ": truth.interval.high,
            "editor calls": found.count("editor"),
            "judge calls": found.count("judge"),
            "2nd judge": found.count("second judge"),
        }
        key = f"acceptance_{name.replace(' ', '_')}"
        figures += [
            in_table(reported(f"{key}_{number}", float(value), "", method), MAIN, name, column)
            for number, (column, value) in enumerate(cells.items())
        ]
    return figures


def findings(bench: Bench) -> list[Figure]:
    """What follows from the main table, record by record."""
    records = bench.size(4_000, 150)
    found = {name: run_strategy(WORLD, each, records) for name, each in STRATEGIES.items()}
    first, again = (measure_agreement(WORLD, name, records) for name in ("first", "second"))
    gain = estimate(found["best of 4"].whole - found["gate"].whole)
    dearer = found["best of 4"].count("editor") / found["gate"].count("editor")
    seed, second = _compare_both(found)
    sure_holds, unsure_holds = measure_doubt(WORLD, records)
    unsure = found["second if unsure"].count("second judge") / found["second if unsure"].count("judge")
    texts = {
        "acceptance_judge_agreement": (
            first,
            "How often the judge scores an image above one of the same record in which an edit less holds; "
            f"the second judge {again:.3f}. {records:,} records of 1 to 4 edits; an edit fails with 30 % of "
            "its seeds on average, by a beta distribution over edits, and the policy sees that half of the "
            "time. All assumptions are in `benchmarks/acceptance_world.py`.",
        ),
        "acceptance_best_of_4_gain": (
            gain.value,
            f"Records whose edits all hold, best of 4 less gate: {_show(gain)}, for {dearer:.1f} times the "
            "calls of the editor.",
        ),
        "acceptance_seed_if_unsure_over_chance": (
            seed.value,
            f"A further seed where the entropy is above {UNSURE:g} nats, less spending as many calls of the "
            f"editor on records drawn at random (gate, best of 2, best of 4): {_show(seed)}.",
        ),
        "acceptance_edit_holds_where_unsure": (
            unsure_holds,
            "How often the edit holds in an image that the gate took at the first try, where the entropy is "
            f"above {UNSURE:g} nats; {sure_holds:.3f} where it is not.",
        ),
        "acceptance_second_if_unsure_over_chance": (
            second.value,
            f"The second judge where the first's entropy is above {UNSURE:g} nats, which are {unsure:.0%} of "
            f"its judgements, less asking it as often about records drawn at random: {_show(second)}.",
        ),
    }
    return [reported(name, value, "", method) for name, (value, method) in texts.items()]


def other_worlds(bench: Bench) -> list[Figure]:
    """How much of it hangs on the assumptions."""
    records, figures = bench.size(2_000, 100), []
    for row, world in WORLDS.items():
        found = {name: run_strategy(world, each, records) for name, each in STRATEGIES.items()}
        seed, second = _compare_both(found)
        cells = {name: float(each.whole.mean()) for name, each in found.items()} | {
            "seed over chance": seed.value,
            "±": seed.interval.width / 2,
            "2nd over chance": second.value,
            "± ": second.interval.width / 2,
        }
        key = f"acceptance_{row.replace(' ', '_')}"
        figures += [
            in_table(reported(f"{key}_{number}", value, "", "As the main table."), OTHERS, row, column)
            for number, (column, value) in enumerate(cells.items())
        ]
    return figures


FIGURES = (findings, strategies, other_worlds)
