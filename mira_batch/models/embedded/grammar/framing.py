"""What surrounds the edits of an instruction and is none: requests, joints, thanks, purposes, descriptions.

A description is passed over only where it is a whole sentence that says nothing else ("the photo is too
dark"); everything that is not listed here makes an instruction unclear.
"""

from __future__ import annotations

from mira_batch.models.embedded.grammar.pattern import (
    Index,
    Names,
    Pattern,
    Value,
    compile_pattern,
    index_patterns,
    words_of,
)
from mira_batch.models.embedded.grammar.phrases import NAMES
from mira_batch.models.embedded.grammar.words import words

_PLACES = words(
    """
    webshop shop store website site web instagram etsy ebay amazon shopify facebook pinterest print
    printing archive catalog catalogue newsletter blog banner story stories thumbnail thumbnails youtube
    listing media marketplace magazine newspaper ad poster postcard calendar invitation menu linkedin
    twitter tiktok report slide slides brochure flyer cover presentation app gallery portfolio homepage
    client profile"""
)
_STATES = """dark / bright / blurry / blur+ed / soft / dull / flat / pale / @gray / grayscale / sepia
    / mirror+ed / upsidedown / sideways / crooked / tilt+ed / negative / inverted / invert+ed / small / large
    / gloomy / dim / murky / dingy / bland / hazy / foggy / lifeless / fuzzy / boring
    / on dark|bright side / [lying] on side / overexposed
    / underexposed / washed out / faded / noisy / grainy / unsharp / low contrast / vivid / contrasty"""
_NAMES: Names = {
    **NAMES,
    "purpose": f"""[our|my|your|online|new|web|social|product] {"|".join(sorted(_PLACES))}
        [page|image|post|ad|header|cover|article|thumbnail|banner]""",
    "doing": "[can] [you] mind / try|after|before / start|begin by",
    "state": f"[still|already|currently] [way|strongly|slightly] [too|very|quite|rather|so] ({_STATES})",
    "states": _STATES,
    "thanks": "[many] thanks [ ( in advance / again / for [your] help / [so|very] strongly ) ] [{thanked}]",
    "thanked": "in advance / everyone / all",
    "courtesy": """if (you don't mind / you can|may / possible / that is|it is (ok|okay|possible|fine))
        / when|whenever you (can / have (time / moment|minute|second)) / as soon as (possible / you can)""",
    "scene": "original|room|scene|interior|lighting|light|exposure|colors",
    "measured": Value(r"\d+ (?:px )?x \d+ (?:px )?"),
}


WORDS: set[str] = set()


def _compile_one(source: str) -> Pattern:
    WORDS.update(words_of([source], _NAMES))
    return compile_pattern(source, _NAMES)


def _compile(*sources: str) -> Index:
    return index_patterns([_compile_one(source) for source in sources])


INTROS = _compile(
    "can|may you|i [go ahead and]",
    "both|also",
    "i want|need [you] to",
    "(let's / lets / let us)",
    "go ahead and",
    "ok|okay|alright|so|also|now [,]",
    "hi [there|client|all|everyone|folks|person] ,|;|-",
    "[it] can be great|nice|good (if you can / to)",
    "(is it / can it be) possible to",
    "i was|am wondering if|whether you can",
    "i can appreciate it if you can",
    "(i'd / i can) be grateful|happy|glad if you can",
    "can someone|somebody|anyone|anybody",
    "help me|us [to]",
    "do you think you can",
    "{courtesy} [,]",
    "(make sure / don't forget / remember) to",
    "as discussed|agreed [,]",
    "for {purpose} [,|:|-]",
    "do",
)
"""What may stand before a command."""
CONTEXTS = _compile(
    "[and] {thanks}",
    "good morning|afternoon|evening|day",
    "hi [there|client|all|everyone|folks|person]",
    "best|kind|warm regards",
    "person [person]",
    "regards|greetings|best",
    "[and] nothing else|more",
    "that is all|it",
    "[i want|need] [you] [to] (do|make|apply) following [edit|change|step]",
    "following [edit|change|step]",
    """[following] edit|change|step|todo|note|task|tasks|request|instruction|instructions|job
        [needed|required|requested|wanted]""",
    "to do|edit|change",
    "[one] quick|small|simple one|edit|request|job|thing|change",
    "(i'm|we're / i am|are) posting|print+ing|using|put+ing|uploading|publishing {it} on|in|to|for {purpose}",
    "here is|are edit|change|step",
    "{purpose}",
    "{it} is [meant|intended|needed] for {purpose}",
    "{it} (go|goes / will go / will be|is used) on|in|into|onto|to|for {purpose}",
    "{courtesy}",
    "i want|need banner|thumbnail|cover",
    "for {purpose}",
    "[(this|it is)] (product|catalog|catalogue / real estate) listing|image [for {purpose}]",
    "[(i / [our|my] client)] want|need {it} for {purpose}",
    "[{it}] [slightly|way|strongly] too ({states})",
    "because|since|as {it} (is|looks|seems|was) {state}",
    "it came|turn+ed out {state} [and {state}]",
    """({it} / {scene}) (is|looks|seems|appears|was|feels / came|turn+ed out) {state} [[,|and] {state}]
        [at moment|now|currently]""",
    "looks|seems|appears {state}",
    "{it} will be print+ed|used|shown|posted|published on|in|for|to {purpose}",
    "what i want|need",
    "{it} lacks|misses contrast|brightness|saturation|punch|sharpness",
    "color (are|is|effect|looks) {state} [[,|and] {state}]",
    "{it} is {measured} [now|currently]",
    "original|current|source size|dimension|resolution [is|:] {measured}",
)
"""Whole stretches between joints that name no edit."""
TAILS = _compile(
    "for {purpose}",
    "for me|us",
    "as well",
    "too",
    "{courtesy}",
    "[and] nothing else|more",
    "[and] {thanks}",
    "because|since|as {it} (is|looks|seems|was) {state}",
)
"""What may follow a clause."""

IMPERATIVE, PARTICIPLE, GERUND = "verb", "verb+ed", "verb+ing"
AFTER: dict[Pattern, tuple[str, ...]] = {
    _compile_one(source): kinds
    for source, kinds in (
        (
            "make|turn|convert|change|render|get|have|set|switch|bring {it} [to|into|in|be|effect|all]",
            ("state", PARTICIPLE),
        ),
        ("[(i / [our|my] client)] want|need {it} [to|in|as|at] [be]", ("state", PARTICIPLE)),
        ("(should|must / need|has to / [is] to) be", ("state", PARTICIPLE)),
        ("can {it} be", ("state", PARTICIPLE)),
        ("{it} (should|must / need|has to / [is] to) be", ("state", PARTICIPLE)),
        ("{it} (should|must / need|has to) have|get", ("thing",)),
        ("[{it}] can use|do [with]", ("thing",)),
        ("need", (GERUND,)),
        ("[(i / [our|my] client)] want|need", ("thing",)),
        ("can i have|get", ("thing",)),
        ("{it} need", ("thing", GERUND)),
        ("add|apply|use|do|run|create|insert|draw|place|overlay|put|have|get", ("thing",)),
        ("give [({it} / me / us)]", ("thing",)),
        ("thanks in advance for", (GERUND,)),
        ("start|begin by", (GERUND,)),
        ("[and] with", ("thing",)),
        ("after", (GERUND,)),
        ("before", (GERUND,)),
        ("before you|i", (IMPERATIVE,)),
        ("before you|i make|turn|convert|change {it} [to|into|in]", ("state", PARTICIPLE)),
        ("before you|i add|apply|put|draw", ("thing",)),
        ("try", (GERUND,)),
        ("[can] [you] mind", (GERUND,)),
        (
            "{doing} make+ing|turn+ing|convert+ing|change+ing|switch+ing|set+ing {it} [to|into|in]",
            ("state", PARTICIPLE),
        ),
        ("{doing} add+ing|apply+ing|put+ing|place+ing|draw+ing", ("thing",)),
        ("{doing} give+ing [{it}]", ("thing",)),
        ("(make sure / ensure) [that] {it} is", ("state", PARTICIPLE)),
    )
}
"""What stands before the words that name the edit, and which kinds of them may follow."""
LEADS = index_patterns(tuple(AFTER))

FIRST = (
    *("first of all", "first", "firstly", "to begin with", "to start with", "to start", "start with"),
    *("begin with", "as first step"),
)
LAST = (
    *("finally", "lastly", "last", "at end", "in end", "end with", "finish with", "to finish", "last of all"),
    *("to end with", "as last step", "as final step"),
)
ORDINALS = {"second": 2, "secondly": 2, "third": 3, "thirdly": 3, "fourth": 4, "fifth": 5}
THEN = (
    "then",
    "next",
    "afterwards",
    "after that",
    "after this",
    "followed by",
    "once that is done",
    "once done",
    "when that is done",
    "when done",
    "subsequently",
    "thereafter",
)
"""Words that say in which order the edits are made."""
