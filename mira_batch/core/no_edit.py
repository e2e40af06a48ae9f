"""Words inside `<edit>` that name no edit.

Models write a stop where an edit belongs ("No further edits needed."), repeat the form they were shown, or
fill it with "None" or "...". A generative editor would repaint the picture by such words. English only, as
the prompt is.
"""

from __future__ import annotations

import re
import unicodedata

_MOST_WORDS = 30
"""A longer text says more than that nothing is to be done."""
_WORD = re.compile(r"[^\W_]+(?:['/-][^\W_]+)*")


def _gather(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


_SINGLE = _gather(
    "none null nil nan n/a na void undefined empty blank unknown tbd todo true false yes ok okay",
    "skip pass noop no-op nop halt quit exit end eof eos finish continue same",
    "complete correct fine good perfect ready",
)
"""Each says nothing when it stands alone."""
_DENIES = _gather(
    "no not nothing none nil zero never without don't doesn't isn't aren't stop stops stopped stopping",
    "unchanged untouched done finished completed fulfilled satisfied",
)
"""One of these must be among the words of a text that consists of `_EMPTY` words alone."""
_EMPTY = _DENIES | _gather(
    "a an any all this that the these it its i we",
    "image images picture photo person user task tasks work result thing things anything everything",
    "edit edits edited editing edition action actions adjustment adjustments alteration alterations",
    "change changes changed correction corrections modification modifications modify operation operations",
    "step steps transformation update updates instruction instructions request requests requirement",
    "additional else extra further more new other out again anymore longer yet still left remaining remain",
    "remains missing atomic final current desired requested required specified asked wanted",
    "am is are was were be been being has have can do does made make need needed needs necessary possible",
    "apply applied carried perform performed keep leave match matches meets satisfies shows looks see",
    "require requires wants want exactly already always here now there then therefore thus so since because",
    "before end point time stage reached reason good fine perfect correct complete ready",
    "about and as at by for from in of on to way what with",
)
"""Words that name nothing to be seen in an image."""
_GOOD = _gather(
    "complete correct fine good ok okay perfect ready right asked instructed intended requested wanted"
)
_STATE = _GOOD | _gather(
    "a all already and are as been edit edits everything for has have image in instruction instructions",
    "is it its looks now of photo picture seems so task the this to was work",
)
"""A text of these with one of `_GOOD` at its end says that all is well: "The image is perfect"."""
_SHOWN = re.compile(
    r"(?:(?:insert|put|write|place|your|the|an?|one|some|single|next|first|new|atomic|specific|actual) )*"
    r"(?:edit|editing|instruction|action|command|prompt|placeholder)"
    r"(?: (?:instruction|action|command|prompt|text|description|here|goes))*"
)
"""Ways to write the form itself: "your edit here"."""


def names_no_edit(text: str) -> bool:
    """Whether a text in place of an edit says that there is none, or says nothing.

    Args:
        text: what stands inside `<edit>`.
    """
    words = _read_words(text)
    if not words:
        return True
    if len(words) > _MOST_WORDS:
        return False
    if len(words) == 1 and words[0] in _SINGLE:
        return True
    if words[0] == "stop" and _is_broken_off(text):
        return True
    if not _DENIES.isdisjoint(words) and _EMPTY.issuperset(words):
        return True
    if words[-1] in _GOOD and _STATE.issuperset(words):
        return True
    return _SHOWN.fullmatch(" ".join(words)) is not None


def denies_stop(text: str) -> bool:
    """Whether the reason given for a stop is that there is none: `<stop>no</stop>`.

    Args:
        text: what stands inside `<stop>`.
    """
    return " ".join(_read_words(text)) in ("no", "false", "not yet", "no stop", "do not stop", "don't stop")


def _read_words(text: str) -> list[str]:
    """The words in one spelling: full-width letters and capitals are as others, and so are apostrophes."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold().replace("’", "'"))


def _is_broken_off(text: str) -> bool:
    """Whether the first word stands by itself: "STOP: the mug is red", and not "Stop sign in red"."""
    return re.match(r"\W*\w+\s*(?:[:;.,!…–—(]|\s-\s)", unicodedata.normalize("NFKC", text)) is not None
