"""All rules, compiled, and all words that they know."""

from __future__ import annotations

from mira_batch.models.embedded.grammar import framing
from mira_batch.models.embedded.grammar.canvas import CANVAS
from mira_batch.models.embedded.grammar.clause import compile_rules
from mira_batch.models.embedded.grammar.colour import COLOURS
from mira_batch.models.embedded.grammar.geometry import GEOMETRY
from mira_batch.models.embedded.grammar.size import SIZES
from mira_batch.models.embedded.grammar.typos import Speller
from mira_batch.models.embedded.grammar.words import FILLER, FORMS, PHRASES, SAME, UNITS, words

LEXICON = compile_rules((*GEOMETRY, *SIZES, *CANVAS, *COLOURS))
_COLOURS = """white black gray red green blue yellow orange purple pink brown navy silver gold teal violet
    ivory beige turquoise magenta cyan maroon olive light dark"""
_VALUES = """clockwise counterclockwise left right top bottom center everyside brightness contrast saturation
    slightly strongly very small medium large thin thick faintly times percent pure plain solid overall"""
_MEANT = (
    *LEXICON.words,
    *(SAME | FORMS),
    *SAME.values(),
    *(unit for units in UNITS.values() for unit in units),
    *(part for phrase in PHRASES for part in phrase),
    *words(_COLOURS),
    *words(_VALUES),
)
_ORDER = " ".join((*framing.FIRST, *framing.LAST, *framing.THEN, *framing.ORDINALS))
SPELLER = Speller(
    meant=_MEANT,
    others=(*FILLER, *framing.WORDS, *words(_ORDER)),
    same={**FORMS, **SAME, **{unit: name for name, units in UNITS.items() for unit in units}},
)
