"""The answer format of a policy, and its parser.

    <think>what is done, what is missing</think>
    <edit>one atomic edit</edit>          or          <stop>why it is finished</stop>

The paper publishes no format; this one is ours. Any text at all parses to an `Edit`, a `StopAction` or a
`MalformedAction`, never to an exception. Thoughts are optional. After the thoughts exactly one action
must stand; text around the tags is ignored, since models like to add a sentence.
"""

from __future__ import annotations

import html
import re

from mira_batch.core.types import Edit, MalformedAction, StopAction

ANSWER_FORMAT = (
    "Think first, then answer with exactly one action:\n"
    "<think>what the image already shows and what is still missing</think>\n"
    "<edit>one atomic edit instruction</edit>\n"
    "or, when nothing is missing:\n"
    "<stop>why the image is finished</stop>"
)
MAX_INSTRUCTION = 2_000
"""An atomic edit longer than this, in characters, is no atomic edit."""

_TAG = re.compile(r"<(/?)(think|edit|stop)>", re.IGNORECASE | re.ASCII)


def parse_action(text: str) -> Edit | StopAction | MalformedAction:
    """Read a policy's answer.

    Tags inside a thought are part of the thought, and so are those inside an action. An opened tag that
    is never closed (an answer cut off at its token limit) is malformed rather than guessed at.
    """
    elements, unclosed = _find_elements(text)
    if unclosed:
        return MalformedAction(f"<{unclosed}> is opened but never closed")
    thought = " ".join(_unescape(body) for tag, body in elements if tag == "think").strip()
    actions = [(tag, body) for tag, body in elements if tag != "think"]
    if not actions:
        return MalformedAction("no <edit>…</edit> or <stop>…</stop> was found")
    if len(actions) > 1:
        return MalformedAction(f"{len(actions)} actions were given; exactly one is wanted")
    kind, body = actions[0][0], _unescape(actions[0][1])
    if kind == "stop":
        return StopAction(body, thought)
    if not body:
        return MalformedAction("<edit> is empty")
    if len(body) > MAX_INSTRUCTION:
        return MalformedAction(
            f"<edit> has {len(body)} characters; at most {MAX_INSTRUCTION} make an atomic edit"
        )
    return Edit(body, thought)


def format_action(action: Edit | StopAction) -> str:
    """The text that `parse_action` reads back as `action` (for policies that compute their answer)."""
    tag, body = ("edit", action.instruction) if isinstance(action, Edit) else ("stop", action.reason)
    thought = f"<think>{_escape(action.thought)}</think>\n" if action.thought else ""
    return f"{thought}<{tag}>{_escape(body)}</{tag}>"


def _find_elements(text: str) -> tuple[list[tuple[str, str]], str]:
    """The outermost elements as (tag, body), and the tag that is opened but never closed, if any.

    One pass, since a model caught in repetition can fill a long answer with opened tags.
    """
    elements: list[tuple[str, str]] = []
    opened, start = "", 0
    for tag in _TAG.finditer(text):
        closes, name = tag[1], tag[2].lower()
        if not opened and not closes:
            opened, start = name, tag.end()
        elif closes and name == opened:
            elements.append((name, text[start : tag.start()]))
            opened = ""
    return elements, opened


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def _unescape(text: str) -> str:
    try:
        return html.unescape(text).strip()
    except ValueError:  # a character reference of thousands of digits, which int() refuses
        return text.strip()
