"""What the grammar knows of English before it knows any operation: one spelling for words that are the same.

`lexer.py` reads a text with these tables. `FILLER` has the only words that are ever dropped wherever they
stand; all others must be understood where they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


POLITE = words("please pls plz kindly")
FILLER = POLITE | words("a an the its just simply exactly precisely image's photo's picture's own")
"""Words dropped wherever they stand."""

UNITS = {
    "px": words("px pixel pixels"),
    "%": words("% percent pct"),
    "deg": words("° º degree degrees deg degs"),
}

_SAME = {
    "image": """images photo photos picture pictures photograph photographs pic pics shot shots packshot scan
        page snapshot""",
    "color": "colors",
    "side": "edge edges sides",
    "area": "areas part parts region regions section sections zones spots",
    "step": "steps",
    "change": "changes",
    "edit": "edits",
    "level": "levels",
    "bar": "bars",
    "border": "borders",
    "margin": "margins",
    "corner": "corners",
    "gap": "gaps",
    "letter": "letters lettering font",
    "word": "words",
    "effect": "filter look style effects",
    "dimension": "dimensions",
    "proportion": "proportions ratio",
    "horizontally": "horizontal",
    "vertically": "vertical",
    "clockwise": "cw",
    "counterclockwise": "ccw anticlockwise",
    "grayscale": "bw monochrome grayscales",
    "brighter": "lighter",
    "darker": "dimmer",
    "vivid": "colorful vibrant saturated",
    "contrasty": "contrasted",
    "slightly": "bit little somewhat subtly lightly tad touch slight subtle gently gentle",
    "strongly": "lot much heavily significantly considerably greatly strong heavy far",
    "large": "big",
    "larger": "bigger",
    "center": "middle central centered centrally",
    "top": "upper topmost uppermost",
    "bottom": "bottommost lowest lowermost undermost",
    "left": "leftmost",
    "right": "rightmost",
    "you": "u",
    "tall": "high",
    "faintly": "faint translucent semitransparent",
    "background": "backdrop backgrounds",
    "automatically": "automatic",
    "can": "could would will",
    "i": "we",
    "need": "needs require requires",
    "want": "wants",
    "around": "round",
    "client": "customer boss marketing editor designer team",
    "thanks": "thx cheers ty thankyou",
    "hi": "hello hey dear",
    "don't": "dont",
    "proportionally": "proportionately",
}
SAME: dict[str, str] = {other: name for name, others in _SAME.items() for other in others.split()}
"""Word -> the one spelling of it that the rules use."""

RESPELL = (("grey", "gray"), ("colour", "color"), ("centred", "centered"), ("centre", "center"))
"""British spellings, also within words."""

VERB_FORMS = """
    rotate rotated rotating, turn turned turning, spin spun spinning, tilt tilted tilting, flip flipped
    flipping, mirror mirrored mirroring, reflect reflected reflecting, swap swapped swapping, crop
    cropped cropping, trim trimmed trimming, cut cut cutting, shave shaved shaving, remove removed
    removing, take taken taking, resize resized resizing, rescale rescaled rescaling, scale scaled
    scaling, enlarge enlarged enlarging, upscale upscaled upscaling, shrink shrunk shrinking, downscale
    downscaled downscaling, reduce reduced reducing, increase increased increasing, decrease decreased
    decreasing, raise raised raising, boost boosted boosting, lower lowered lowering, stretch stretched
    stretching, downsize downsized downsizing, halve halved halving, double doubled doubling, triple
    tripled tripling, pad padded padding, extend extended extending, expand expanded expanding, fit
    fitted fitting, place placed placing, put put putting, letterbox letterboxed letterboxing, frame
    framed framing, surround surrounded surrounding, brighten brightened brightening, lighten lightened
    lightening, darken darkened darkening, dim dimmed dimming, desaturate desaturated desaturating,
    saturate oversaturated saturating, mute muted muting, invert inverted inverting, blur blurred
    blurring, sharpen sharpened sharpening, tint tinted tinting, posterize posterized posterizing,
    posterise posterised posterising, flatten flattened flattening, fill filled filling, replace
    replaced replacing, write written writing, add added adding, apply applied applying, label labeled
    labeling, watermark watermarked watermarking, caption captioned captioning, stamp stamped stamping,
    convert converted converting, make made making, give given giving, change changed changing, set set
    setting, bring brought bringing, enhance enhanced enhancing, print printed printing, draw drawn
    drawing, reverse reversed reversing, exchange exchanged exchanging, switch switched switching, chop
    chopped chopping, magnify magnified magnifying, resample resampled resampling, keep kept keeping,
    soften softened softening
"""


def _list_forms() -> Iterator[tuple[str, str]]:
    for forms in VERB_FORMS.split(","):
        verb, past, gerund = forms.split()
        if past != verb:
            yield past, f"{verb}+ed"
        yield gerund, f"{verb}+ing"


FORMS: dict[str, str] = dict(_list_forms())
"""Participles and gerunds -> the verb and which form it is: "cropped" is "crop+ed", no command by itself."""

ONES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_NUMBERS = {word: i for i, word in enumerate(f"{ONES} seventeen eighteen nineteen".split(), 1)}
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_PARTS = {"half": 50, "third": 33.333, "quarter": 25, "fourth": 25, "fifth": 20, "tenth": 10}


def _list_numbers() -> Iterator[tuple[str, str]]:
    yield from ((word, str(value)) for word, value in _NUMBERS.items() if word != "one")
    for i, tens in enumerate(_TENS, 2):
        yield tens, str(10 * i)
        yield from ((f"{tens} {one}", str(10 * i + _NUMBERS[one])) for one in ONES.split()[:9])
    yield from ((hundred, "100") for hundred in ("hundred", "one hundred", "a hundred"))
    yield from ((f"one {unit}", f"1 {name}") for name, units in UNITS.items() for unit in units)


def _list_parts() -> Iterator[tuple[str, str]]:
    """Fractions. "Third" alone is none: it may count the edits."""
    for word, percent in _PARTS.items():
        yield from ((f"{one} {word}", f"{percent} part") for one in ("a", "one"))
    yield from (("half", "50 part"), ("quarter", "25 part"), ("two thirds", "66.667 part"))
    yield from (("three quarters", "75 part"), ("quarter turn", "90 deg turn"), ("half turn", "180 deg turn"))
    yield from (("half a turn", "180 deg turn"), ("a quarter turn", "90 deg turn"))
    yield from (("one quarter turn", "90 deg turn"), ("a half turn", "180 deg turn"))
    yield from (("quarter of a turn", "90 deg turn"), ("a quarter of a turn", "90 deg turn"))


def _list_phrases() -> Iterator[tuple[str, str]]:
    for phrases, name in _PHRASES.items():
        yield from ((phrase.strip(), name) for phrase in phrases.split("/"))
    for side in ("side", "corner"):
        yield from ((f"{every} {side}", f"every{side}") for every in ("each", "every", "all", "all four"))
    for area in ("background", "area", "px"):
        yield f"transparent {area}", "transparency"


_PHRASES: Mapping[str, str] = {
    "black and white/b and w/gray scale/shades of gray": "grayscale",
    "upside down/on its head": "upsidedown",
    "counter clockwise/anti clockwise": "counterclockwise",
    "left to right/right to left/left right/from left to right/from right to left": "horizontally",
    "top to bottom/bottom to top/from top to bottom/up down": "vertically",
    "auto contrast": "autocontrast",
    "semi transparent/half transparent": "faintly",
    "white space": "whitespace",
    "per cent": "%",
    "get rid of": "remove",
    "aspect proportion/aspect": "proportion",
    "all around/all the way around": "everyside",
    "alpha channel/alpha": "transparency",
    "slightly slightly/a slightly slightly/just a slightly": "slightly",
    "twice": "2 fold",
    "thank you": "thanks",
    "can like/can love": "want",
    "we'd like/i'd like": "i want",
    "we'd love/i'd love": "i want",
    "do not": "don't",
    "it is/it's": "it is",
    "that is/that's": "that is",
    "right hand": "right",
    "left hand": "left",
}
PHRASES: dict[tuple[str, ...], str] = {
    tuple(phrase.split()): name for phrase, name in (*_list_numbers(), *_list_parts(), *_list_phrases())
}
"""Phrases of several words that are one, and words that are several."""
LONGEST_PHRASE = max(map(len, PHRASES))
