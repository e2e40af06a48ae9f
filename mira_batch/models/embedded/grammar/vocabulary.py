"""All rules, compiled, and all words that they know."""

from __future__ import annotations

from mira_batch.models.embedded.grammar import framing
from mira_batch.models.embedded.grammar.canvas import CANVAS
from mira_batch.models.embedded.grammar.clause import compile_rules
from mira_batch.models.embedded.grammar.colour import COLOURS
from mira_batch.models.embedded.grammar.geometry import GEOMETRY
from mira_batch.models.embedded.grammar.size import SIZES
from mira_batch.models.embedded.grammar.typos import Speller
from mira_batch.models.embedded.grammar.words import FILLER, FORMS, PHRASES, SAME, UNITS

LEXICON = compile_rules((*GEOMETRY, *SIZES, *CANVAS, *COLOURS))
_COLOURS = """white black gray red green blue yellow orange purple pink brown navy silver gold teal violet
    ivory beige turquoise magenta cyan maroon olive light dark"""
_VALUES = """clockwise counterclockwise left right top bottom center everyside brightness contrast saturation
    slightly strongly very small medium large thin thick faintly times percent pure plain solid overall"""
SPELLER = Speller(
    (
        word
        for word in (
            *LEXICON.words,
            *framing.WORDS,
            *(
                part
                for phrase in (*framing.FIRST, *framing.LAST, *framing.THEN, *framing.ORDINALS)
                for part in phrase.split()
            ),
            *SAME,
            *SAME.values(),
            *FORMS,
            *FILLER,
            *(unit for units in UNITS.values() for unit in units),
            *(part for phrase in PHRASES for part in phrase),
            *_COLOURS.split(),
            *_VALUES.split(),
        )
        if word.isalpha()
    ),
    {**FORMS, **SAME},
)
