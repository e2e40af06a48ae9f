"""Which steps of a trajectory are answers to learn, and what the samples of it are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mira_batch.config.construct import SamplesConfig, SplitConfig
from mira_batch.construct.demonstration import (
    Deed,
    Demonstration,
    Fault,
    Origin,
    Picture,
    find_faults,
    find_path,
    relabel,
)
from mira_batch.construct.samples import choose_split, cut_samples
from mira_batch.construct.words import are_independent, list_orders, merge, normalise, refers_back
from mira_batch.core.actions import parse_action
from mira_batch.core.types import Edit, StopAction

ORIGIN = Origin("set", "CC0-1.0", "r1", "run", "w1")
CONFIG = SamplesConfig()


def walk(images: str, rejected: str = "", scores: tuple[float | None, ...] = ()) -> Demonstration:
    """A trajectory over images named by letters; those of `rejected` were rolled back, `scores` by step."""
    deeds, current = [], images[0]
    for index, after in enumerate(images[1:]):
        score = scores[index] if scores else None
        accepted = after not in rejected
        deeds.append(
            Deed(
                f"paint {after}{index}",
                current,
                after,
                Picture(after.encode(), after),
                f"t{index}",
                accepted,
                score,
            )
        )
        current = after if accepted else current
    original = Picture(images[0].encode(), images[0])
    return Demonstration(ORIGIN, "do it all", original, tuple(deeds), True, "done", 0.9, bool(scores))


@pytest.mark.parametrize(
    ("walked", "faults"),
    [
        (walk("oab"), [None, None]),
        (walk("ooab"), [Fault.unchanged, None, None]),
        (walk("oxab", rejected="x"), [Fault.rejected, None, None]),
        (walk("oxoab"), [Fault.undone, None, None, None]),  # x is wrong, its undoing is right
        (walk("oxyoa"), [Fault.undone, Fault.undone, None, None]),
        (walk("oxoyoa"), [Fault.undone, None, Fault.undone, None, None]),
        (walk("oabc", scores=(0.5, 0.3, 0.8)), [None, Fault.worse, None]),
        (walk("oabc", scores=(0.5, 0.48, 0.8)), [None, None, None]),
        (walk("oab", scores=(0.8, 0.4)), [None, Fault.not_in_result]),
        (walk("oaa", scores=(0.8, 0.8)), [None, Fault.unchanged]),
    ],
)
def test_faults(walked: Demonstration, faults: list[Fault | None]) -> None:
    assert find_faults(walked, worse=0.05) == faults


def test_the_questions_of_a_plain_trajectory() -> None:
    rows = [row for _, row in cut_samples(walk("oab"), CONFIG)]
    assert [row["kind"] for row in rows] == ["start", "continue", "stop"]
    assert [row["origin"] for row in rows] == ["trajectory"] * 3
    assert [row["current"] for row in rows] == [
        None,
        {"bytes": b"a", "path": None},
        {"bytes": b"b", "path": None},
    ]
    assert [len(row["history"]) for row in rows] == [0, 1, 2]
    assert parse_action(rows[1]["answer"]) == Edit("paint b1", "t1")
    stop = parse_action(rows[2]["answer"])
    assert isinstance(stop, StopAction) and stop.thought == "done" and rows[2]["edit"] is None
    assert {row["score"] for row in rows} == {0.9} and rows[2]["step"] == 2


def test_a_wrong_step_is_no_answer_and_the_step_after_it_a_recovery() -> None:
    events = list(cut_samples(walk("oxoa"), CONFIG))
    assert [event for event, _ in events] == ["undone", "sample", "sample", "sample"]
    repair = events[1][1]
    assert repair is not None
    assert (repair["origin"], repair["kind"], repair["edit"]) == ("recovery", "continue", "paint o1")
    assert repair["current"]["bytes"] == b"x" and repair["history"] == [
        {"instruction": "paint x0", "accepted": True}
    ]
    off = [event for event, _ in cut_samples(walk("oxoa"), SamplesConfig(recovery=False))]
    assert off == ["undone", "recovery_off", "sample", "sample"]


def test_after_a_rejected_step_the_image_is_as_before_and_the_history_says_so() -> None:
    events = list(cut_samples(walk("oxa", rejected="x"), CONFIG))
    row = events[1][1]
    assert row is not None and row["current"] is None and row["current_digest"] == "o"
    assert row["kind"] == "continue" and row["history"] == [{"instruction": "paint x0", "accepted": False}]


def test_who_did_not_stop_gives_no_stop_and_who_stopped_elsewhere_neither() -> None:
    unfinished = list(cut_samples(replace(walk("oab"), stopped=False), CONFIG))
    assert unfinished[-1] == ("unfinished", None)
    elsewhere = [event for event, _ in cut_samples(walk("oab", scores=(0.8, 0.4)), CONFIG)]
    assert elsewhere == ["sample", "not_in_result", "stop_elsewhere"]


def test_without_an_image_there_is_no_question_about_it() -> None:
    walked = walk("oab")
    lost = replace(walked, deeds=(replace(walked.deeds[0], picture=None), walked.deeds[1]))
    assert [event for event, _ in cut_samples(lost, CONFIG)] == ["sample", "no_image", "sample"]


def test_what_the_loop_would_not_read_is_no_answer() -> None:
    walked = walk("oab")
    idle = replace(
        walked, deeds=(replace(walked.deeds[0], instruction="No further edits needed."), walked.deeds[1])
    )
    assert [event for event, _ in cut_samples(idle, CONFIG)] == ["no_answer", "sample", "sample"]


def test_near_duplicates_have_one_name_and_other_questions_others() -> None:
    def names(demonstration: Demonstration) -> list[str]:
        return [row["sample_id"] for _, row in cut_samples(demonstration, CONFIG) if row]

    walked = walk("oab")
    loud = replace(walked, instruction="  DO  it all. ", final_thought="other", score=0.1)
    assert names(loud) == names(walked) and len(set(names(walked))) == 3
    assert not set(names(replace(walked, instruction="do it twice"))) & set(names(walked))
    assert not set(names(replace(walked, original=Picture(b"p", "p")))) & set(names(walked))


def test_a_path_leaves_out_detours_and_a_relabelled_one_is_all_right() -> None:
    walked = walk("oaxayb", rejected="y")
    assert find_path(walked.deeds, 4) == [0, 4]
    assert find_path(walked.deeds, 1) == [0, 1]
    goal = merge([walked.deeds[index].instruction for index in (0, 1)])
    events = list(cut_samples(relabel(walked, [0, 1], goal), CONFIG, "hindsight"))
    rows = [row for _, row in events if row]
    assert [row["kind"] for row in rows] == ["start", "continue", "stop"]
    assert {row["instruction"] for row in rows} == {"paint a0, then paint x1."}
    assert all(row["score"] is None and row["origin"] == "hindsight" for row in rows)
    assert [row["thought"] for row in rows] == [None] * 3


def test_the_split_goes_by_the_image_alone() -> None:
    config = SplitConfig(val_fraction=0.2)
    splits = [choose_split(f"digest {n}", config) for n in range(2_000)]
    assert 0.17 < splits.count("val") / len(splits) < 0.23
    assert splits == [choose_split(f"digest {n}", config) for n in range(2_000)]
    assert splits != [
        choose_split(f"digest {n}", SplitConfig(val_fraction=0.2, seed=1)) for n in range(2_000)
    ]


def test_words() -> None:
    assert merge(["Add a hat.", "Make the wall blue", "IKEA: remove it"]) == (
        "Add a hat, then make the wall blue, then IKEA: remove it."
    )
    assert normalise("  Ａdd a\n hat. ") == "add a hat"
    assert refers_back("Make it red") and refers_back("and another one") and not refers_back("add a hat")
    assert list_orders(3, 2) == [(0, 1, 2), (0, 2, 1)]


@pytest.mark.parametrize(
    ("edits", "independent"),
    [
        (["give the dog a hat", "paint the car yellow"], True),
        (["give the dog a hat", "remove the dog"], False),  # the same thing
        (["give the dogs a hat", "remove the dog"], False),
        (["give the dog a hat", "paint it yellow"], False),  # refers back
        (["give the dog a hat", "make the picture brighter"], False),  # the whole picture
        (["give the dog a hat", "remove the cup on the left"], False),  # a place
        (["give the dog a hat", "turn"], False),  # says nothing
        (["remove the bus", "paint the glasses green"], True),
        (["Add a dog", "Make the dog's collar red"], False),
        (["Add a dog", "Make the dog’s collar red"], False),
        (["Add a dog", "Make the dogʼs collar red"], False),
        (["Add a dog", "Make the dogs' collars red"], False),
        (["Add a box", "Paint the boxes red"], False),
        (["Add a bus", "Paint the buses red"], False),
        (["Add a quiz", "Paint the quizzes red"], False),
        (["Add a puppy", "Give the puppies hats"], False),
        (["Remove the woman", "Paint women's hats blue"], False),
        (["Remove the fireman", "Give the firemen hats"], False),
        (["Remove the person", "Give the people hats"], False),
        (["Remove the woman", "Give the people hats"], False),
        (["Add a child", "Paint the children's faces"], False),
        (["Add a foot", "Paint the feet green"], False),
        (["Remove the tooth", "Paint the teeth white"], False),
        (["Add a goose", "Paint the geese white"], False),
        (["Add a mouse", "Paint the mice white"], False),
        (["Add a leaf", "Paint the leaves yellow"], False),
        (["Add a knife", "Paint the knives yellow"], False),
        (["Add a cactus", "Paint the cacti yellow"], False),
        (["Add a t-shirt", "Paint the shirts yellow"], False),
        (["Paint the shirts yellow", "Add a t-shirt"], False),
    ],
)
def test_independence_errs_on_the_side_of_no(edits: list[str], independent: bool) -> None:
    assert are_independent(edits) is independent
