"""What an image says of how it came to be, in the words of IPTC's digital source types, and what it says
after an edit. Pure functions; who reads and writes the words is in `marks/`."""

from __future__ import annotations

import re

VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""A source type is written as this and a name."""
GENERATIVE = "compositeWithTrainedAlgorithmicMedia"
"""An image that a generative model has changed."""
ENHANCED = "algorithmicallyEnhanced"
"""An image that an algorithm without a trained model has changed: rotated, cropped, brightened."""
_WHOLLY = "trainedAlgorithmicMedia"
"""An image that a generative model has made as a whole."""
_AS_RECORDED = frozenset(
    {
        "algorithmicallyEnhanced", "compositeCapture", "computationalCapture", "digitalCapture",
        "humanEdits", "minorHumanEdits", "negativeFilm", "positiveFilm", "print",
    }
)  # fmt: skip
"""What is said of recorded images. All others say that something is made up: no edit makes that untrue."""
_EDITED = frozenset(
    {
        "algorithmicMedia", "algorithmicallyEnhanced", "composite", "compositeCapture", "compositeSynthetic",
        "compositeWithTrainedAlgorithmicMedia", "dataDrivenMedia", "digitalCreation", "humanEdits",
        "screenCapture", "trainedAlgorithmicMedia", "virtualRecording",
    }
)  # fmt: skip
"""What an editor may say of its edits."""
_NAME = re.compile(rf"https?{re.escape(VOCABULARY[4:])}(\w{{1,64}})/?\Z")


def name_source_type(value: str) -> str:
    """The name of a source type; empty for any other text.

    Args:
        value: as an image has it: the vocabulary's address with the name.
    """
    match = _NAME.match(value.strip())
    return match[1] if match else ""


def find_type_problem(value: object) -> str:
    """What is wrong with what an editor says of its edits; empty where nothing is.

    Args:
        value: its `source_type`: a name of the vocabulary, or None for edits that are not marked.
    """
    if value is None or (isinstance(value, str) and value in _EDITED):
        return ""
    return f"source_type should be None or one of {', '.join(sorted(_EDITED))}"


def find_generative(text: bytes) -> str:
    """The generative source type that is named in bytes, as in a signed manifest that nobody has checked; of
    several the more careful one. Empty where there is none.

    Args:
        text: of any form.
    """
    places = {name: VOCABULARY.encode() + name.encode() for name in (GENERATIVE, _WHOLLY)}
    return next((name for name, mark in places.items() if mark in text), "")


def find_result_type(source: str, editor: str, edited: bool) -> str:
    """What a result says.

    A mark that an image is made up, wholly or in part, is never taken away, and never made weaker. An image
    that nobody changed says what it said before.

    Args:
        source: name of the source's own type; empty where it has none.
        editor: the same of the editor's edits; empty where these are not marked.
        edited: whether the result has other pixels than the source.

    Returns:
        The name of the result's type; empty for none.
    """
    if not edited or not editor or source in (GENERATIVE, _WHOLLY):
        return source
    if editor in _AS_RECORDED and source and source not in _AS_RECORDED:
        return source
    return editor
