"""The grammar of a policy's answers, as a table: what is carried out, what ends the loop, and what is
asked again."""

from __future__ import annotations

import pytest

from mira_batch.core.actions import (
    ANSWER_FORMAT,
    MAX_INSTRUCTION,
    escape_entities,
    format_action,
    parse_action,
)
from mira_batch.core.thoughts import CutOff
from mira_batch.core.types import Edit, MalformedAction, StopAction

READABLE = {
    "<edit>make it red</edit>": Edit("make it red"),
    "<stop>all done</stop>": StopAction("all done"),
    "<stop></stop>": StopAction(""),
    "Sure!\n<edit>\n  brighten\n</edit>\nAnything else?": Edit("brighten"),
    "```xml\n<edit>brighten</edit>\n```": Edit("brighten"),
    "<edit>write <stop> on the sign</edit>": Edit("write <stop> on the sign"),
    f"<edit>{'x' * MAX_INSTRUCTION}</edit>": Edit("x" * MAX_INSTRUCTION),
    # Tags in other spellings
    "<EDIT>brighten</Edit>": Edit("brighten"),
    "< edit >brighten</ edit >": Edit("brighten"),
    "＜edit＞brighten＜/edit＞": Edit("brighten"),
    "<stop/>": StopAction(""),
    '<stop confidence="high">all done</stop>': StopAction("all done"),
    # Thoughts
    "<think>too dark</think><edit>brighten</edit>": Edit("brighten", "too dark"),
    "<think>a</think>\n<think>b</think>\n<stop>c</stop>": StopAction("c", "a b"),
    "<edit>brighten</edit> <think>that should do</think>": Edit("brighten", "that should do"),
    "<think>not <edit>this</edit> but</think><edit>that</edit>": Edit("that", "not <edit>this</edit> but"),
    "<thinking>or <edit>this</edit>?</thinking><edit>that</edit>": Edit("that", "or <edit>this</edit>?"),
    "<Reasoning step='1'>or <edit>this</edit>?</Reasoning><stop>fine</stop>": StopAction(
        "fine", "or <edit>this</edit>?"
    ),
    "<reasoning_content>or <edit>this</edit>?</reasoning_content><edit>that</edit>": Edit(
        "that", "or <edit>this</edit>?"
    ),
    "<plan>or <edit>this</edit>?</plan><edit>write <plant> and {x}</edit>": Edit(
        "write <plant> and {x}", "or <edit>this</edit>?"
    ),
    "<scratchpad>a</scratchpad><reflection>b</reflection><edit>c</edit>": Edit("c", "a b"),
    "<seed:think>a</seed:think><edit>b</edit>": Edit("b", "a"),
    "◁think▷or <edit>this</edit>?◁/think▷<edit>that</edit>": Edit("that", "or <edit>this</edit>?"),
    "[THINK]or <edit>this</edit>?[/THINK]<edit>that</edit>": Edit("that", "or <edit>this</edit>?"),
    "<think>a <think>b</think> <edit>c</edit></think><edit>d</edit>": Edit(
        "d", "a <think>b</think> <edit>c</edit>"
    ),
    "<think/><edit>brighten</edit>": Edit("brighten"),
    # Thoughts that the chat template has opened
    "it was fine </think> <edit>brighten</edit>": Edit("brighten", "it was fine"),
    "<edit>this</edit>? No.</think>\n<edit>that</edit>": Edit("that", "<edit>this</edit>? No."),
    "The form is <edit> or <stop>.\n</think>\n<edit>that</edit>": Edit(
        "that", "The form is <edit> or <stop>."
    ),
    "a </think> <edit>b</edit> </think> <edit>c</edit>": Edit("c", "a </think> <edit>b</edit>"),
    "</think></think><stop>done</stop>": StopAction("done", "</think>"),
    # Entities: what we escape ourselves, and quotes; all else is meant as it stands
    "<edit>write &lt;b&gt; &amp; &quot;x&quot; it&#39;s it&apos;s</edit>": Edit(
        "write <b> & \"x\" it's it's"
    ),
    "<edit>write &#60;b&#x3E; &#x27;</edit>": Edit("write <b> '"),
    "<edit>write &amp;lt;b&amp;gt;</edit>": Edit("write &lt;b&gt;"),
    "<edit>write A&para;B&sectC &times2 &LT &lt &#169; &eacute;</edit>": Edit(
        "write A&para;B&sectC &times2 &LT &lt &#169; &eacute;"
    ),
    "<edit>write AT&T &; &amp &&amp;</edit>": Edit("write AT&T &; &amp &&"),
    f"<edit>write &#{'9' * 1500};</edit>": Edit(f"write &#{'9' * 1500};"),
    # Edits that only begin like a stop
    "<edit>Stop sign in red</edit>": Edit("Stop sign in red"),
    "<edit>No background</edit>": Edit("No background"),
    "<edit>Remove nothing but the car</edit>": Edit("Remove nothing but the car"),
    "<edit>complete the picture</edit>": Edit("complete the picture"),
    "<edit>make it perfect</edit>": Edit("make it perfect"),
    "<edit>write 'None'</edit>": Edit("write 'None'"),
    "<edit>edit out the cable</edit>": Edit("edit out the cable"),
    # What can't be written down is written out where it is kept
    "<think>\ud83d</think><stop>all \udce9</stop>": StopAction(r"all \xe9", r"\ud83d"),
}
NO_TAG = "no <edit>"
NO_EDIT = "names no edit"
MALFORMED = {
    "": NO_TAG,
    "brighten": NO_TAG,
    '{"edit": "brighten"}': NO_TAG,
    "**Edit:** brighten": NO_TAG,
    "<instruction>brighten</instruction>": NO_TAG,
    "<editor>brighten</editor>": NO_TAG,
    "<ſtop>a</ſtop>": NO_TAG,
    "&lt;edit&gt;brighten&lt;/edit&gt;": NO_TAG,
    "<think>only thoughts</think>": NO_TAG,
    "<think>never <edit>this</edit></think>": NO_TAG,
    "<thinking>never <edit>this</edit></thinking> It is finished.": NO_TAG,
    "I could <edit>do this</edit>, but no.\n</think>\nNothing is left.": NO_TAG,
    "<edit>brighten</edit></think>": NO_TAG,
    "<edit>write </think> on it</edit>": NO_TAG,
    # Cut off
    "<edit>bright": "<edit> is opened but never closed",
    "<edit>brighten</edit": "<edit> is opened but never closed",
    "<stop>do": "<stop> is opened but never closed",
    "<think>too da": "<think> is opened but never closed",
    "<think>perhaps <edit>brighten</edit> or": "<think> is opened but never closed",
    "<think>a <think>b</think> <edit>brighten</edit>": "<think> is opened but never closed",
    "<edit>brighten</edit> <thinking>or": "<think> is opened but never closed",
    "<edit>a</edit> and then <edit>b": "<edit> is opened but never closed",
    "<edit>a</stop>": "<edit> is opened but never closed",
    CutOff("<edit>brighten</edit> It is"): "token limit",
    CutOff("<stop>all done</stop>"): "token limit",
    # More than one reading
    "<edit>a</edit><edit>b</edit>": "2 actions",
    "<edit>a</edit><stop>b</stop>": "2 actions",
    "<stop/><edit>a</edit>": "2 actions",
    ANSWER_FORMAT: "2 actions",
    "<edit>a <edit>b</edit> c</edit>": "inside <edit>",
    "<edit>a <stop>b</stop></edit>": "inside <edit>",
    "<edit>a <think>or b</think></edit>": "inside <edit>",
    "<edit>write </edit> on it</edit>": "closes nothing",
    '<edit strength="0.5">brighten</edit>': "no attributes",
    # No edit
    "<edit></edit>": "empty",
    "<edit/>": "empty",
    "<edit> \n</edit>": "empty",
    f"<edit>{'x' * (MAX_INSTRUCTION + 1)}</edit>": "2001 characters",
    "<edit>write \ud83d</edit>": "broken character",
    "<edit>draw \ufffd</edit>": "broken character",
    '<edit>{"instruction": "brighten"}</edit>': "holds JSON",
    '<edit>["brighten", "crop"]</edit>': "holds JSON",
    "<edit>...</edit>": NO_EDIT,
    "<edit>…</edit>": NO_EDIT,
    "<edit>-</edit>": NO_EDIT,
    "<edit>[ ]</edit>": NO_EDIT,
    "<edit>STOP</edit>": NO_EDIT,
    "<edit>ＳＴＯＰ。</edit>": NO_EDIT,
    "<edit>&lt;stop&gt;</edit>": NO_EDIT,
    "<edit>STOP: the mug is red</edit>": NO_EDIT,
    "<edit>Stop - the mug is red</edit>": NO_EDIT,
    "<edit>stop editing</edit>": NO_EDIT,
    "<edit>**None**</edit>": NO_EDIT,
    "<edit>null</edit>": NO_EDIT,
    "<edit>N/A</edit>": NO_EDIT,
    "<edit>n/a.</edit>": NO_EDIT,
    "<edit>done</edit>": NO_EDIT,
    "<edit>Nothing</edit>": NO_EDIT,
    "<edit>no-op</edit>": NO_EDIT,
    "<edit>No change</edit>": NO_EDIT,
    "<edit>No further edits are required at this time.</edit>": NO_EDIT,
    "<edit>There is nothing left to do.</edit>": NO_EDIT,
    "<edit>Don’t change anything</edit>": NO_EDIT,
    "<edit>Leave the image unchanged</edit>": NO_EDIT,
    "<edit>No edit is needed because the image already matches the instruction.</edit>": NO_EDIT,
    "<edit>All requested changes have been made, so nothing is missing</edit>": NO_EDIT,
    "<edit>The image is perfect</edit>": NO_EDIT,
    "<edit>Everything is as requested.</edit>": NO_EDIT,
    "<edit>one atomic edit instruction</edit>": NO_EDIT,
    "<edit>One atomic edit instruction.</edit>": NO_EDIT,
    "<edit>[your edit instruction here]</edit>": NO_EDIT,
    "<edit>the next edit</edit>": NO_EDIT,
    # No stop
    "<stop>why the image is finished</stop>": "no reason to stop",
    "<stop>No.</stop>": "no reason to stop",
    "<stop>not yet</stop>": "no reason to stop",
}


@pytest.mark.parametrize(("text", "action"), READABLE.items())
def test_readable_answers(text: str, action: Edit | StopAction) -> None:
    assert parse_action(text) == action


@pytest.mark.parametrize(("text", "problem"), MALFORMED.items())
def test_malformed_answers_say_what_is_wrong(text: str, problem: str) -> None:
    action = parse_action(text)
    assert isinstance(action, MalformedAction)
    assert problem in action.problem


@pytest.mark.parametrize(
    "piece", ["<think>", "</think>", "<edit>", "<edit ", "<", "< ", "<edit" + " " * 50, "&lt", "[think"]
)
def test_a_long_answer_of_one_piece_takes_one_pass(piece: str) -> None:
    # With a pass per tag this would take hours, and the suite's own time limit would end it.
    assert isinstance(parse_action(piece * (5_000_000 // len(piece))), MalformedAction)


@pytest.mark.parametrize(
    "action",
    [
        Edit("make it red"),
        Edit("write </edit><stop>&amp;</stop>", "a <think> in </think> a thought"),
        Edit("write ＜edit＞ or [THINK] or ◁think▷ or [x]"),
        Edit("write &copy &#8364; &lt"),
        StopAction(),
        StopAction("nothing is missing", "it's “fine”\n& good"),
    ],
)
def test_what_is_formatted_reads_back(action: Edit | StopAction) -> None:
    assert parse_action(format_action(action)) == action


def test_what_is_shown_escaped_reads_back() -> None:
    text = "write &lt;b&gt;, &copy; and AT&amp;T"
    assert escape_entities(text) == "write &amp;lt;b&amp;gt;, &copy; and AT&amp;amp;T"
    assert parse_action(f"<edit>{escape_entities(text)}</edit>") == Edit(text)


def test_the_format_shown_to_policies_names_every_tag() -> None:
    for tag in ("think", "edit", "stop"):
        assert f"<{tag}>" in ANSWER_FORMAT
        assert f"</{tag}>" in ANSWER_FORMAT
