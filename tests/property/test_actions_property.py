from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mira_batch.core.actions import MAX_INSTRUCTION, format_action, parse_action
from mira_batch.core.types import Edit, MalformedAction, StopAction

_PIECES = ["<think>", "</think>", "<edit>", "</edit>", "<stop>", "</stop>", "<EDIT>", "&lt;", "&#", "&amp;"]
any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too
tag_soup = st.lists(st.sampled_from(_PIECES) | any_text).map("".join)
stripped = st.text().map(str.strip)
actions = st.builds(Edit, stripped.filter(bool), stripped) | st.builds(StopAction, stripped, stripped)


@given(any_text | tag_soup)
def test_any_text_is_an_edit_a_stop_or_malformed(text: str) -> None:
    action = parse_action(text)
    assert isinstance(action, Edit | StopAction | MalformedAction)
    if isinstance(action, Edit):
        assert action.instruction == action.instruction.strip()
        assert 0 < len(action.instruction) <= MAX_INSTRUCTION
    if isinstance(action, MalformedAction):
        assert action.problem


@given(actions)
def test_what_is_formatted_reads_back(action: Edit | StopAction) -> None:
    assert parse_action(format_action(action)) == action


@given(
    actions, st.text(st.characters(exclude_characters="<")), st.text(st.characters(exclude_characters="<"))
)
def test_text_around_the_tags_is_ignored(action: Edit | StopAction, before: str, after: str) -> None:
    assert parse_action(before + format_action(action) + after) == action
