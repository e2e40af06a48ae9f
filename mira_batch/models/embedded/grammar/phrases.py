"""The values and small phrases that all rules share, by the name that patterns call them."""

from __future__ import annotations

from mira_batch.models.embedded.grammar.pattern import Names, Value

_PLAIN, _SIGNED = r"\d+(?:\.\d+)?", r"[+-]?\d+(?:\.\d+)?"
_SIDES = r"(?:left|right|top|bottom|everyside)"
_PLACE = (
    r"(?:(?:top|bottom|lower|center) (?:left|right|center)|(?:left|right) (?:top|bottom)"
    r"|top|bottom|left|right|center)"
)

NAMES: Names = {
    "number": Value(rf"(?P<KEY>{_PLAIN}) "),
    "signed": Value(rf"(?P<KEY>[+-]{_PLAIN}) "),
    "change": Value(rf"(?P<signed>[+-]{_PLAIN}) (?P<unit>% )?"),
    "raised": Value(rf"\+(?P<share>{_PLAIN}) % ", ("0",)),
    "px": Value(rf"(?P<KEY>{_PLAIN}) px "),
    "length": Value(rf"(?P<KEY>{_PLAIN}) (?:px )?"),
    "percent": Value(rf"(?P<KEY>{_PLAIN}) % "),
    "share": Value(rf"(?P<KEY>{_PLAIN}) (?:%|part) "),
    "part": Value(rf"(?P<KEY>{_PLAIN}) part "),
    "amount": Value(rf"(?P<KEY>{_PLAIN} (?:px|%|part)) "),
    "times": Value(rf"(?P<KEY>{_PLAIN}) (?:times|x) "),
    "fold": Value(rf"(?P<times>{_PLAIN}) (?:times|x|fold) "),
    "degrees": Value(rf"(?P<KEY>{_SIGNED}) (?P<deg>deg )?(?:turn )?"),
    "angle": Value(rf"(?P<degrees>{_SIGNED}) (?P<deg>deg )(?:turn )?"),
    "size": Value(r"(?P<width>\d+) (?:px )?(?:x|by) (?P<height>\d+) (?P<sized>px )?"),
    "ratio": Value(rf"(?P<ratio>{_PLAIN}:{_PLAIN}) "),
    "colour": Value(r"(?:(?:pure|plain|solid) )?@(?P<KEY>\S+) ", ("@", "pure", "plain", "solid")),
    "gray": Value(r"@gray ", ("@",)),
    "quoted": Value(r'"(?P<KEY>\d+) ', ('"',)),
    "tones": Value(
        r"(?:(?:color|overall|image) )?(?P<KEY>(?:brightness|contrast|saturation)"
        r"(?: (?:and|,|, and) (?:brightness|contrast|saturation)){0,2}) (?:level )?",
        ("color", "overall", "image", "brightness", "contrast", "saturation"),
    ),
    # "10% off left and top", "20 px off right", as often as there are sides.
    "cuts": Value(
        rf"(?P<KEY>{_PLAIN} (?:px|%|part) (?:away )?(?:off|from|of|on|at) (?:of )?{_SIDES}(?: side)?"
        rf"(?: (?:,|and|, and) (?:{_PLAIN} (?:px|%|part) )?(?:(?:off|from) )?(?:of )?{_SIDES}(?: side)?)"
        r"{0,3}) "
    ),
    "trims": Value(
        rf"(?P<KEY>{_SIDES}(?: side)?(?: (?:,|and) {_SIDES}(?: side)?){{0,3}} by {_PLAIN} (?:px|%|part)"
        rf"(?: (?:,|and|, and) {_SIDES}(?: side)?(?: (?:,|and) {_SIDES}(?: side)?){{0,3}}"
        rf" by {_PLAIN} (?:px|%|part)){{0,3}}) ",
        ("left", "right", "top", "bottom", "everyside"),
    ),
    "place": Value(
        rf"(?P<KEY>{_PLACE}) ",
        ("top", "bottom", "lower", "left", "right", "center"),
    ),
    "edge": Value(r"(?P<KEY>left|right|top|bottom) (?:side )?", ("left", "right", "top", "bottom")),
    # Whatever the edit is made to: the whole image.
    "it": """[this|that|these|those|my|our|every|each|all] [whole|entire|full|complete] [{kind}] image
        / this one / it / them / this / that / everything / whole thing""",
    "kind": "attached|enclosed|product|catalog|catalogue|stock|profile",
    "must be": "(should|must / need|has|have|ought to) be / (is|are) to be",
    "of it": "of|in|on|to|from {it}",
    "way": Value(
        r"(?:to )?(?P<KEY>clockwise|counterclockwise|left|right) ",
        ("to", "clockwise", "counterclockwise", "left", "right"),
    ),
    "axis": Value(r"(?P<KEY>horizontally|vertically) ", ("horizontally", "vertically")),
    "lying": Value(r"(?P<KEY>widescreen|landscape|portrait) ", ("widescreen", "landscape", "portrait")),
    "square": "[perfect|centered] square [shape|format]",
    "ground": "background|canvas|pad+ing|bar|margin|border|fill|space|area",
    "frame": "canvas|background|frame|square|box|area",
    "longest": "(longest|long|longer|larger|largest|biggest) (side|dimension)",
    "shortest": "(shortest|short|shorter|smaller|smallest) (side|dimension)",
    "is": "is|of|to|at|be|has|becomes / (should|must) be",
    "kept": """proportionally / in proportion / (keep|keep+ing|maintain|maintaining|preserve|preserving
        / retain) [same|original|correct] proportion / same proportion
        / proportion (keep+ed|preserved|unchanged|intact)
        / without {harm} [or|and {harm}] [{it}|anything]
        / (don't|not) (stretch|distort|crop) [{it}] / no (distortion|stretching|stretch+ing|cropping|crop+ing)
        / nothing (cropped|crop+ed|stretched|stretch+ed|cut+ed|cut)""",
    "clear": "[all|any|every] transparency / everything transparent / everything that is transparent",
    "onto": "[in|into|on|to|onto] / in|on|at center of",
    "poured": "fill|fill+ing|fill+ed|pad|pad+ing|pad+ed|letterbox|letterbox+ed",
    "harm": "stretching|distorting|distortion|cropping|crop+ing|stretch+ing",
    "filled": """[[,|and] {kept}] [,|and] [with] ({poured}
        [rest|remaining|empty|leftover] [{ground}] with|in / (rest / remaining|empty|leftover {ground})
        [in|is|being|stays|left / (should|must) be / fill+ed with|in]) {colour} [{ground}]""",
    "painted": "[with|on|add] {colour} ({ground} [around [{it}]] / around [{it}] / on everyside)",
    "width": "{px} / {percent}",
    "thin": Value(r"(?P<KEY>thin) ", ("thin",)),
    "thick": Value(r"(?P<KEY>thick) ", ("thick",)),
    "faint": Value(r"(?P<KEY>faintly) ", ("faintly",)),
    "letters": Value(r"(?P<KEY>small|medium|large) ", ("small", "medium", "large")),
    "stroke": "[( {thin} / {thick} )] [solid] [{width} [wide|thick]] [solid] [{colour}]",
    "broad": "[thin|thick] {width} [wide|thick] [solid] [{colour}]",
    "dyed": "{colour} [solid] {width} [wide|thick]",
    "inked": "[our|my] [{letters}] [{colour}] [{faint}] [text|copyright]",
    "saying": "saying|says|reading|reads|with|: / that says|reads / [with] text|word|: [:]",
    "degree": "{share} / {slightly} / {strongly}",
    "slightly": Value(r"(?P<KEY>slightly) ", ("slightly",)),
    "strongly": Value(r"(?P<KEY>strongly|very) ", ("strongly", "very")),
}
