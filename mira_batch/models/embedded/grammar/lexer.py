"""From text to tokens in one spelling.

The text is read in one pass with patterns that have one way to match each character, so hostile text costs no
more than its length squared. What can be read in two ways ("1.000", "10-20") becomes a
mark that no rule takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from PIL import ImageColor

from mira_batch.models.embedded.grammar.plain import Knows, find_plain_texts, mark_people
from mira_batch.models.embedded.grammar.tokens import Token
from mira_batch.models.embedded.grammar.words import (
    FILLER,
    FORMS,
    LONGEST_PHRASE,
    PHRASES,
    POLITE,
    RESPELL,
    SAME,
    UNITS,
    words,
)
from mira_batch.models.embedded.operations.operation import name_colour

_MARKER = r"""
      (?P<marker> (?:\A|(?<=[\n.;:]))[^\S\n]{0,4}\(?[0-9]{1,2}[.):](?=\s)
                | (?<![^\s;,.:])\(?(?:[0-9]{1,2}|[a-h]|i{1,3}|iv|vi{0,3}|ix|x)\)(?=\s)
                | (?:\A|(?<=\n))[^\S\n]{0,4}(?:[a-h]|i{1,3}|iv|vi{0,3}|ix|x)\.(?=\s)
                | (?<=\s)[0-9]{1,2}\.(?=\s+[^\W\d_])
                | \bstep[ ]{1,3}[0-9]{1,2}\b[.):]? )
    |
"""
_PLAIN = r"""
      (?P<text> "(?:[^"\\]|\\.)*" | “[^”]*” | „[^“”]*[“”] | «[^»]*»
              | ‘(?:[^’]|’(?=\w))*’ | (?<!\w)'(?:[^'\n]|(?<=\w)'(?=\w))*'(?!\w) )
    | (?P<hex> \#(?:[0-9a-f]{6}|[0-9a-f]{3})(?!\w) )
    | (?P<bullet> (?:\A|(?<=\n))[^\S\n]{0,4}[-*•–—](?=\s) )
    | (?P<bw> \b(?:b[ ]?/[ ]?w|black/white)\b )
    | (?P<across> \bleft/right\b )
    | (?P<with> \bw/ )
    | (?P<name> (?:https?://|www\.)[^\s,;"]{1,80} | (?<!\w)@\w[\w.]{1,40}
              | (?<![\w-])[\w-]{1,40}(?:\.[\w-]{1,30}){0,2}\.(?:com|net|org|shop|eu|de|uk|io|co)(?!\w) )
    | (?P<ratio> (?<![\w.,:])[0-9]{1,5}(?:\.[0-9]{1,3})?(?::|[ ]:[ ])[0-9]{1,5}(?:\.[0-9]{1,3})?(?![\w:]) )
    | (?P<doubt> [0-9]+(?:,[0-9]{3})*,[0-9]{1,2}(?![0-9]) | [0-9]+['’][0-9]+ | [0-9]+(?:\.[0-9]+){2,}
              | (?<![0-9.,])0[0-9]+ | (?<![0-9.,])[0-9]{1,3}\.[0-9]{2}0(?![0-9]) | [0-9]*\.[0-9]{4,} )
    | (?P<number> (?:(?<![\w)%°.])[+−–—-])?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+|(?<![0-9])(?=\.[0-9]))
                  (?:\.[0-9]+)? )
    | (?P<word> [^\W\d_]+(?:['’][^\W\d_]+)* )
    | (?P<smile> [:;]-?\)(?!\w) | [\U0001F600-\U0001F64F\u2764\uFE0F]+ )
    | (?P<strong> [;!?|\n\r→…]+ | \.+ | [-=]+> )
    | (?P<comma> [,()] )
    | (?P<label> [:=] )
    | (?P<dash> (?<=\s)[-–—](?=\s) | (?<=[^\W\d_])[–—](?=[^\W\d_]) )
    | (?P<hyphen> (?<=[\w%°])-(?=[^\W\d_]) )
    | (?P<and> & | (?<=\s)\+(?=\s) )
    | (?P<unit> [%°º×*] )
    | (?P<ignored> [^\S\n\r]+ )
    | (?P<mark> . )
"""
_TOKEN = re.compile(_MARKER + _PLAIN, re.VERBOSE | re.IGNORECASE | re.DOTALL)
_UNMARKED = re.compile(_PLAIN, re.VERBOSE | re.IGNORECASE | re.DOTALL)

_JOINTS = {"comma": ",", "strong": ";", "dash": "-", "and": "and", "label": ":"}
_WORDS = {"×": "x", "*": "x"}
_UNITS = {unit: name for name, units in UNITS.items() for unit in units}
_SIGNS = {"plus": "+", "minus": "-"}
_LEVELS = words("brightness contrast saturation")
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")
_MAX_DIGITS = 15
"""No parameter has more; a longer number is a mark."""

Correct = Callable[[str], str]


def read_tokens(text: str, correct: Correct, knows: Knows) -> list[Token]:
    """All tokens of an instruction that carry meaning, in order.

    Args:
        correct: gives a word's right spelling; a word that it does not know comes back as it is.
        knows: tells whether the grammar knows a word.
    """
    tokens = find_plain_texts(mark_people(_scan(text), knows), knows)
    tokens = _join_signs([_spell(token, correct) for token in tokens])
    tokens = _join_phrases(tokens)
    return [t for t in tokens if not (t.kind == "word" and t.value in FILLER)]


def find_polite(text: str) -> list[int]:
    """Where somebody says please."""
    return [match.start() for match in re.finditer(r"\w+", text.lower()) if match[0] in POLITE]


def _scan(text: str) -> list[Token]:
    """The raw tokens. Markers are such only in a list that counts 1, 2, 3 or a, b, c."""
    tokens: list[Token] = []
    at, counted, style = 0, 0, ""
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None
        if match.lastgroup == "marker":
            number = re.sub(r"\W|step", "", match[0].lower())
            inline = match[0].endswith(".") and match.start() > 0 and text[match.start() - 1] not in "\n.;:"
            found = _read_style(number, style)
            if _count(number, found) == counted + 1 and ((counted == 0 and not inline) or style == found):
                counted, style = counted + 1, found
            else:
                match = _UNMARKED.match(text, at)
                assert match is not None
        if match.lastgroup not in ("ignored", "smile", "hyphen"):
            tokens.append(_read_token(match))
        at = match.end()
    return tokens


def _read_style(number: str, style: str) -> str:
    """How a marker counts: "1", "a" or "i"; "i" and "v" are letters only in a list of letters."""
    if number.isdigit():
        return "1"
    return "i" if number in _ROMAN and style != "a" else "a"


def _count(number: str, style: str) -> int:
    return int(number) if style == "1" else _ROMAN.index(number) + 1 if style == "i" else ord(number[0]) - 96


def _read_token(match: re.Match[str]) -> Token:
    kind, raw = match.lastgroup or "mark", match[0]
    value = raw.lower()
    match kind:
        case "hex":
            kind, value = "colour", f"@{name_colour(raw)}"
        case "marker":
            kind, value = "marker", ";"
        case "bw":
            kind, value = "word", "grayscale"
        case "across":
            kind, value = "word", "horizontally"
        case "with":
            kind, value = "word", "with"
        case "ratio":
            kind, value = "number", raw.replace(" ", "")
        case "number":
            value = re.sub("[−–—]", "-", raw).replace(",", "")
            kind = "number" if len(value) <= _MAX_DIGITS else "mark"
            value = f"0{value}" if value.startswith(".") else value
        case "unit":
            kind, value = "word", _WORDS.get(raw, raw)
        case "bullet":
            value = ";"
        case "comma" | "strong" | "dash" | "and" | "label":
            kind, value = "joint", _JOINTS[kind]
        case "doubt":
            kind = "mark"
        case _:
            pass
    return Token(kind, value, match.start(), match.end(), raw)


def _spell(token: Token, correct: Correct) -> Token:
    """One spelling for a word and its forms."""
    if token.kind != "word":
        return token
    word = token.value.replace("’", "'")
    for british, american in RESPELL:
        word = word.replace(british, american)
    word = correct(word)
    word = _UNITS.get(word) or SAME.get(word) or FORMS.get(word) or word
    if word in ("and", "plus"):
        return replace(token, kind="joint", value="and")
    return replace(token, value=word)


def _join_signs(tokens: list[Token]) -> list[Token]:
    """ "Minus 10%" is "-10%"; "plus" is a sign only beside what has a level, else it joins two edits."""
    done: list[Token] = []
    for index, token in enumerate(tokens):
        sign = done[-1] if done else None
        if sign and token.kind == "number" and token.value[0].isdigit() and sign.raw.lower() in _SIGNS:
            near = {t.value for t in (*done[-2:-1], *tokens[index + 1 : index + 3])}
            before = done[-2].kind if len(done) > 1 else "joint"
            if (
                sign.value == "minus"
                and before != "number"
                or (near & _LEVELS and before in ("word", "joint"))
            ):
                value = f"{_SIGNS[sign.raw.lower()]}{token.value}"
                done[-1] = Token("number", value, sign.start, token.end, token.raw)
                continue
        done.append(token)
    return done


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
    """The longest phrase that starts here, and how many tokens it takes."""
    first, values, found = tokens[at], list[str](), (tokens[at], 1)
    for count, token in enumerate(tokens[at : at + LONGEST_PHRASE], 1):
        if token.kind != "word" and token.value != "and":
            break
        values.append(token.value)
        if tuple(values) in PHRASES:
            found = Token("word", PHRASES[tuple(values)], first.start, token.end, first.raw), count
        elif count <= 3 and token.kind == "word" and (name := "".join(values)) in ImageColor.colormap:
            found = Token("colour", f"@{name_colour(name)}", first.start, token.end, first.raw), count
    return found
