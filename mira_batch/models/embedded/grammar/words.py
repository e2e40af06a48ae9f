"""From text to tokens: what the grammar knows of English before it knows any operation.

Owns the lexer, the spellings it treats as one, and `FILLER`, the only words that are ever dropped. What
tokens mean together is in `clause.py`. The text is read in one pass with patterns that have one way
to match each character, so hostile text costs no more than its length squared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from PIL import ImageColor

from mira_batch.models.embedded.operations.operation import name_colour


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FILLER = words(
    """a an the it its them this that these image images photo photos picture pictures photograph pic shot
    please kindly thanks thank you could can would i i'd want like we me my let let's also just now
    with in on at of into onto using for so is be some whole entire"""
)
"""Words dropped wherever they stand: they say nothing without a word beside them that is understood."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word, number, colour or mark with its place in the instruction.

    Kinds: word, mark, number, px, percent, degrees, turn, times, size (w, h), ratio (w, h), colour, text, and
    two separators: strong (always ends a clause) and weak (a comma, "and": may stand inside one).
    """

    kind: str
    value: str | float | tuple[float, float]
    start: int
    end: int
    signed: bool = False
    """A number written with + or - before it."""


_TOKEN = re.compile(
    r"""
      (?P<text> "(?:[^"\\]|\\.)*" | “[^”]*” | „[^“”]*[“”] | «[^»]*»
              | ‘(?:[^’]|’(?=\w))*’ | (?<!\w)'(?:[^'\n]|(?<=\w)'(?=\w))*'(?!\w) )
    | (?P<hex> \#(?:[0-9a-f]{6}|[0-9a-f]{3})(?!\w) )
    | (?P<marker> (?:\A|(?<=[\n.;]))[^\S\n]{0,4}(?:\(?[0-9]{1,2}[.):](?=\s)|[-*•]\s)
                | (?<=,)[ ]{0,4}\(?[0-9]{1,2}\)(?=\s) | \bstep[ ]{1,3}[0-9]{1,2}\b[.):]? )
    | (?P<size> (?<![\w.])[0-9]{1,6}[ ]{0,2}(?:px|pixels)?[ ]{0,2}[x×*][ ]{0,2}[0-9]{1,6}(?![0-9.]*[0-9]) )
    | (?P<ratio> (?<![\w.])[0-9]{1,5}(?:\.[0-9]{1,3})?(?::|[ ]:[ ])[0-9]{1,5}(?:\.[0-9]{1,3})?(?!\w) )
    | (?P<number> (?:(?<![\w)])[+−-])?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)? )
    | (?P<word> [^\W\d_]+(?:['’][^\W\d_]+)* )
    | (?P<strong> [;.!?\n\r→]+ | [-=]+> | (?<=\s)-(?=\s) )
    | (?P<weak> [,&+:–—] )
    | (?P<ignored> [^\S\n\r]+ | [()\[\]_-] )
    | (?P<mark> . )
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)

_STRONG = words(
    "then next first firstly second secondly third thirdly fourth fifth finally lastly afterwards"
)
_UNITS = {
    **dict.fromkeys(("px", "pixel", "pixels"), "px"),
    **dict.fromkeys(("%", "percent"), "percent"),
    **dict.fromkeys(("°", "º", "degree", "degrees", "deg", "degs"), "degrees"),
    **dict.fromkeys(("x", "×", "times"), "times"),
}
_SPELLINGS = {
    "rotate": "rotated rotating rotation spin",
    "turn": "turned turning",
    "flip": "flipped flipping",
    "mirror": "mirrored mirroring mirrors reflect",
    "horizontally": "horizontal sideways",
    "vertically": "vertical",
    "clockwise": "cw",
    "counterclockwise": "ccw anticlockwise",
    "crop": "cropped cropping",
    "trim": "cut shave trimmed",
    "resize": "resized resizing rescale scale scaled",
    "enlarge": "enlarged larger bigger upscale grow",
    "shrink": "smaller shrunk downscale",
    "longest": "longer long",
    "shortest": "shorter short",
    "width": "wide",
    "height": "high tall",
    "side": "edge edges sides",
    "pad": "padded padding",
    "border": "frame framed borders bordered",
    "margin": "margins whitespace",
    "grayscale": "bw monochrome",
    "sepia": "sepias",
    "tone": "toned tones",
    "invert": "inverted inverse negative",
    "color": "colors",
    "brightness": "bright",
    "brighten": "brighter lighten lighter",
    "darken": "darker dim dimmer",
    "contrast": "contrasty",
    "saturation": "saturated vivid colorful vibrant",
    "increase": "raise boost more higher increased enhance",
    "decrease": "reduce less decreased reduced",
    "blur": "blurry blurred blurrier",
    "sharpen": "sharper crisper sharp sharpened sharpness",
    "tint": "tinted tinting",
    "slightly": "bit little somewhat subtly lightly",
    "strongly": "lot much heavily significantly considerably very far strong",
    "write": "wording lettering inscription label stamp",
    "caption": "captioned",
    "watermark": "watermarked",
    "letters": "font writing lettered type",
    "large": "big",
    "center": "middle central centered",
    "faint": "faintly translucent semitransparent",
    "background": "canvas",
    "flatten": "flattened",
    "posterize": "posterized posterise posterised",
}
_SAME = {word: name for name, words in _SPELLINGS.items() for word in words.split()}
_RESPELL = (("grey", "gray"), ("colour", "color"), ("centred", "center"), ("centre", "center"))
_ONES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_NUMBERS = {word: float(i) for i, word in enumerate(f"{_ONES} seventeen eighteen nineteen".split(), 1)}
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_PHRASES: dict[tuple[str, ...], tuple[str, str | float]] = {
    **{(word,): ("number", value) for word, value in _NUMBERS.items()},
    **{(tens,): ("number", 10.0 * i) for i, tens in enumerate(_TENS, 2)},
    **{
        (tens, one): ("number", 10.0 * i + _NUMBERS[one])
        for i, tens in enumerate(_TENS, 2)
        for one in _ONES.split()[:9]
    },
    ("hundred",): ("number", 100.0),
    ("one", "hundred"): ("number", 100.0),
    **{(word,): ("times", 0.5) for word in ("half", "halve", "halved")},
    ("quarter",): ("times", 0.25),
    **{(word,): ("times", 2.0) for word in ("double", "doubled")},
    **{(word,): ("times", 3.0) for word in ("triple", "tripled")},
    # "twice" alone may mean to do a thing two times.
    ("twice", "as"): ("times", 2.0),
    ("twice", "size"): ("times", 2.0),
    ("twice", "original", "size"): ("times", 2.0),
    ("black", "and", "white"): ("word", "grayscale"),
    ("b", "and", "w"): ("word", "grayscale"),
    ("b", "/", "w"): ("word", "grayscale"),
    ("gray", "resize"): ("word", "grayscale"),
    ("shades", "gray"): ("word", "grayscale"),
    ("remove", "color"): ("word", "grayscale"),
    ("remove", "all", "color"): ("word", "grayscale"),
    ("upside", "down"): ("word", "upsidedown"),
    ("counter", "clockwise"): ("word", "counterclockwise"),
    ("anti", "clockwise"): ("word", "counterclockwise"),
    ("left", "to", "right"): ("word", "horizontally"),
    ("top", "to", "bottom"): ("word", "vertically"),
    ("quarter", "turn"): ("turn", 90.0),
    ("half", "turn"): ("turn", 180.0),
    ("auto", "contrast"): ("word", "autocontrast"),
    ("semi", "transparent"): ("word", "faint"),
    ("half", "transparent"): ("word", "faint"),
    ("remove", "transparency"): ("word", "flatten"),
    ("white", "space"): ("word", "margin"),
    ("per", "cent"): ("word", "percent"),
    ("aspect", "ratio"): ("word", "proportions"),
    **{(keep, "proportions"): ("word", "proportionally") for keep in ("keep", "keeping")},
    **{(keep, "aspect", "ratio"): ("word", "proportionally") for keep in ("keep", "keeping")},
    ("followed", "by"): ("strong", "then"),
    ("after", "that"): ("strong", "then"),
    **{
        ("transparent", part): ("word", "transparency")
        for part in ("background", "areas", "area", "parts", "pixels")
    },
    **{(every, "side"): ("word", "everyside") for every in ("each", "every", "all")},
    ("all", "four", "side"): ("word", "everyside"),
    ("all", "around"): ("word", "everyside"),
    ("all", "round"): ("word", "everyside"),
}
_LONGEST_PHRASE = max(map(len, _PHRASES))


def read_tokens(text: str) -> list[Token]:
    """All tokens of an instruction that carry meaning, in order."""
    read = [_read_token(match) for match in _TOKEN.finditer(text) if match.lastgroup != "ignored"]
    read = _join_phrases([_respell(t) for t in read])
    return _attach_units([t for t in read if not (t.kind == "word" and t.value in FILLER)])


def _read_token(match: re.Match[str]) -> Token:
    kind, raw = match.lastgroup or "mark", match[0]
    value: str | float | tuple[float, float] = raw.lower()
    match kind:
        case "text":
            value = " ".join(re.sub(r'\\(["\\])', r"\1", raw[1:-1]).split())
        case "hex":
            kind, value = "colour", name_colour(raw)
        case "marker":
            kind = "strong"
        case "size" | "ratio":
            first, second = re.findall(r"[0-9.]+", raw)
            value = (float(first), float(second))
        case "number":
            digits = raw.replace(",", "").replace("−", "-")
            # More digits than any parameter has: left as a mark that nothing understands.
            kind, value = ("number", round(float(digits), 3)) if len(digits) < 16 else ("mark", raw)
    return Token(kind, value, match.start(), match.end(), raw[0] in "+-−")


def _respell(token: Token) -> Token:
    """One spelling for a word and its forms; words that separate become separators."""
    if token.kind != "word" or not isinstance(token.value, str):
        return token
    word = token.value.replace("’", "'")
    for british, american in _RESPELL:
        word = word.replace(british, american)
    word = _SAME.get(word, word)
    if word in _STRONG or word in ("and", "plus"):
        return replace(token, kind="strong" if word in _STRONG else "weak", value=word)
    return replace(token, value=word)


def _join_phrases(tokens: list[Token]) -> list[Token]:
    """Phrases of several words, and colour names of one to three words, become one token each."""
    done: list[Token] = []
    at = 0
    while at < len(tokens):
        token, length = tokens[at], 1
        if token.kind == "word":
            token, length = _find_phrase(tokens, at)
        done.append(token)
        at += length
    return done


def _find_phrase(tokens: list[Token], at: int) -> tuple[Token, int]:
    """The longest phrase that starts here, and how many tokens it takes; filler within is passed over."""
    first, values, found = tokens[at], [], (tokens[at], 1)
    for count, token in enumerate(tokens[at : at + 2 * _LONGEST_PHRASE], 1):
        if token.kind in ("strong", "text"):
            break
        value = "and" if token.value == "&" else token.value
        if values and value in FILLER and (*values, value) not in _PHRASES:
            continue
        values.append(value)
        name = "".join(map(str, values))
        if tuple(values) in _PHRASES:
            kind, known = _PHRASES[tuple(values)]
            found = Token(kind, known, first.start, token.end), count
        elif token.kind == "word" and len(values) <= 3 and name in ImageColor.colormap:
            found = Token("colour", name_colour(name), first.start, token.end), count
    return found


def _attach_units(tokens: list[Token]) -> list[Token]:
    """Numbers take the unit after them, and "640 by 480" becomes a size."""
    done: list[Token] = []
    for token in tokens:
        last = done[-1] if done else None
        if last and last.kind == "number" and token.value in _UNITS and token.kind in ("word", "mark"):
            done[-1] = replace(last, kind=_UNITS[str(token.value)], end=token.end)
        elif last and last.kind == "size" and token.value in ("px", "pixel", "pixels"):
            done[-1] = replace(last, end=token.end)
        else:
            done.append(token)
        if len(done) >= 3 and (size := _read_size(*done[-3:])):
            done[-3:] = [size]
    return done


def _read_size(width: Token, by: Token, height: Token) -> Token | None:
    if by.value != "by" or width.kind not in ("number", "px") or height.kind not in ("number", "px"):
        return None
    assert isinstance(width.value, float) and isinstance(height.value, float)
    return Token("size", (width.value, height.value), width.start, height.end)
