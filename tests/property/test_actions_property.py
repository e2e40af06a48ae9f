from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mira_batch.core.actions import MAX_INSTRUCTION, format_action, parse_action
from mira_batch.core.thoughts import CutOff
from mira_batch.core.types import Edit, MalformedAction, StopAction

_NAMES = ["think", "thinking", "Reasoning", "SCRATCHPAD", "reflection", "thought", "seed:think"]
_PIECES = [
    *("<think>", "</think>", "<edit>", "</edit>", "<stop>", "</stop>", "<EDIT>", "< edit x=1>", "<stop/>"),
    *("<thinking>", "</thinking>", "[THINK]", "[/THINK]", "＜edit＞", "&lt;", "&#", "&amp;", "STOP", "..."),
]
any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too
tag_soup = st.lists(st.sampled_from(_PIECES) | any_text).map("".join)
stripped = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd")).map(str.strip)
actions = st.builds(Edit, stripped.map("paint {}".format).map(str.strip), stripped) | st.builds(
    StopAction, stripped.map("finished {}".format).map(str.strip), stripped
)
plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<＜◁["))

CONSIDERED = "<edit>paint it black</edit>"


@st.composite
def thoughts(draw: st.DrawFn) -> str:
    """A thought that weighs an edit, with others inside it or not, in any of the tags that models have."""
    inner = draw(st.lists(plain | st.just(CONSIDERED) | st.deferred(thoughts), min_size=1, max_size=3))
    name = draw(st.sampled_from(_NAMES))
    return f"<{name}>{''.join(inner)}{CONSIDERED}</{name}>"


@given(any_text | tag_soup)
def test_any_text_is_an_edit_a_stop_or_malformed(text: str) -> None:
    action = parse_action(text)
    assert isinstance(action, Edit | StopAction | MalformedAction)
    if isinstance(action, Edit):
        assert action.instruction == action.instruction.strip()
        assert 0 < len(action.instruction) <= MAX_INSTRUCTION
        assert any(letter.isalnum() for letter in action.instruction)
        f"{action.instruction}{action.thought}".encode()
    if isinstance(action, MalformedAction):
        assert action.problem
    assert isinstance(parse_action(CutOff(text)), MalformedAction)


@given(actions)
def test_what_is_formatted_reads_back(action: Edit | StopAction) -> None:
    assert parse_action(format_action(action)) == action


@given(actions, plain, plain)
def test_text_around_the_tags_is_ignored(action: Edit | StopAction, before: str, after: str) -> None:
    assert parse_action(before + format_action(action) + after) == action


@given(st.lists(thoughts(), max_size=3), plain, st.lists(thoughts(), max_size=2))
def test_an_edit_that_is_only_considered_is_never_carried_out(
    before: list[str], between: str, after: list[str]
) -> None:
    around = "".join(before) + between, "".join(after)
    assert isinstance(parse_action("".join(around)), MalformedAction)
    action = parse_action(f"{around[0]}<edit>paint it white</edit>{around[1]}")
    assert isinstance(action, Edit) and action.instruction == "paint it white"


@given(st.lists(plain | st.just(CONSIDERED) | thoughts()), plain)
def test_a_thought_opened_by_the_chat_template_is_one(inside: list[str], between: str) -> None:
    opened = f"{''.join(inside)}{CONSIDERED}</think>{between}"
    assert isinstance(parse_action(opened), MalformedAction)
    action = parse_action(f"{opened}<stop>all done</stop>")
    assert isinstance(action, StopAction) and action.reason == "all done"


@given(tag_soup)
def test_nothing_before_the_end_of_a_thought_is_carried_out(soup: str) -> None:
    """Whatever stands before it: an answer that was read from there would hold the edit's own words."""
    action = parse_action(f"{soup}{CONSIDERED}{soup}</think>")
    assert not isinstance(action, Edit) or "black" not in action.instruction
