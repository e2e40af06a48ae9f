"""Words inside `<edit>` that name no edit.

Models write a stop where an edit belongs ("No further edits needed."), refuse ("I'm sorry, but I can't help
with that."), repeat the form they were shown, or fill it with "None" or "...". A generative editor would
repaint the picture by such words. English, as the prompt is, and the shortest stops in Chinese and Japanese,
which some models fall into.
"""

from __future__ import annotations

import re
import unicodedata

_MOST_WORDS = 30
"""A longer text says more than that nothing is to be done."""
_QUOTES = frozenset("\"'`“”‘’«»")
_PAUSE = re.compile(r"[,;:.!]\s+(?!(?:as|please|exactly|just|unchanged|now)\b)\w", re.IGNORECASE)
"""Where more is said than one thing."""
_WORD = re.compile(r"[^\W_]+(?:['/-][^\W_]+)*")


def _gather(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


_SINGLE = _gather(
    "none null nil nan n/a na void undefined empty blank unknown tbd todo true false yes ok okay",
    "skip pass noop no-op nop halt quit exit end eof eos finish continue same",
    "complete correct fine good perfect ready over enough approved accepted refused denied declined",
    "停止 终止 終止 終了 结束 結束 完成 完了 已完成 跳过 无 無 没有 無し なし",
)
"""Each says nothing when it stands alone."""
_DENIES = _gather(
    "no not nothing none nil zero never without don't doesn't isn't aren't stop stops stopped stopping",
    "unchanged untouched unedited unaltered unmodified done finished completed fulfilled satisfied",
    "accomplished terminate terminated cease abort cancel halt quit exit end",
)
"""One of these must be among the words of a text that consists of `_EMPTY` words alone."""
_EMPTY = _DENIES | _gather(
    "a an any all this that the these it its i we",
    "image images picture photo person user task tasks work result thing things anything everything",
    "edit edits edited editing edition action actions adjustment adjustments alteration alterations",
    "change changes changed correction corrections modification modifications modify operation operations",
    "process session loop job mission editing original input output result results",
    "step steps transformation update updates instruction instructions request requests requirement",
    "additional else extra further more new other out again anymore longer yet still left remaining remain",
    "remains missing atomic final current desired requested required specified asked wanted",
    "am is are was were be been being has have can do does made make need needed needs necessary possible",
    "apply applied carried perform performed keep leave match matches meets satisfies shows looks see",
    "should must may stay stays return returned let's please just simply",
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
_PLACEHOLDER = re.compile(r"%\w|%\(\w+\)\w|\$\w+|\$?\{+\s*\w*\s*\}+|<\s*\w+\s*>")
"""What a template leaves where nothing was put in: "%s", "{edit}", "<instruction>"."""
_POLITE = r"(?:(?:please|just|simply|so|now|then|ok|okay|let's) )*"
_IMAGE = (
    r"(?:it|this|that|them|everything|all|things|well enough|"
    r"(?:(?:the|this|that) )?(?:(?:original|current|input|given|source|whole|entire|final|edited|same) )*"
    r"(?:image|images|picture|photo|photograph|result|output|input|file|original))"
)
_AS_IS = (
    r"(?:(?:exactly|just|completely|fully|entirely) )?(?:as is|as they are|the way (?:it is|they are)|"
    r"as (?:it|this|that)(?: already)? (?:is|was|stands)|like (?:this|that)|unchanged|"
    r"in its (?:current|original) (?:state|form)|"
    r"be|alone|untouched|unedited|unaltered|unmodified|intact|the same)(?: (?:now|already|please|for now))?"
)
_KEPT = re.compile(
    rf"{_POLITE}(?:(?:keep|leave|return|output|retain|preserve|maintain|accept|submit|let|show)"
    rf"(?: {_IMAGE})?(?: {_AS_IS})*"
    rf"|(?:keep|leave|retain|preserve|maintain)(?: (?!and |but |then |while |only |or )\S+){{1,6}} {_AS_IS}"
    rf"|{_IMAGE} (?:(?:can|should|must|may|will|shall) )?"
    rf"(?:be (?:kept|left)|is (?:kept|left)|stays?|remains?) {_AS_IS}"
    rf"|(?:stay|remain) {_AS_IS})"
)
"""A sentence whose only verb is to keep: "Return the image unchanged", and not "Leave only the cup"."""
_ALL = re.compile(
    r"(?:(?:that|this)(?:'s| is| was| will be|'ll be) |and )?(?:all|it|everything|enough)(?: for now| folks)?"
)
_SPEAKS = re.compile(
    r"(?:i|we)(?:'m|'ve|'ll|'d|'re)\b|im (?:sorry|unable|not|afraid|done)\b|"
    r"(?:i|we) (?:can|cannot|can't|could|couldn't|am|are|aren't|was|were|have|haven't|had|do|don't|did|"
    r"didn't|will|won't|would|wouldn't|shall|must|should|think|believe|see|notice|understand|apologi[sz]e|regret|"
    r"refuse|decline|suggest|recommend|need|require|want|know|feel|lack|only|also)\b|"
    r"as an? (?:(?:large|helpful|multimodal|visual|vision|text-based|vision-language|responsible) )*"
    r"(?:ai|artificial intelligence|language model|llm|vlm|chatbot|assistant)\b|"
    r"(?:my|our) (?:apologies|guidelines|polic)|"
    r"(?:sorry|apologies|unfortunately|regrettably)"
    r"(?:$| (?:i|i'm|we|but|no|not|can't|cannot|this|that|it|for|about|the)\b)"
)
"""How words about whoever answers begin; an edit speaks of the image."""
_WISHES = re.compile(
    r"(?:i|we)(?:'d| would)?(?: really| also)?(?: don't| do not)? (?:want|like|prefer|need) "
    r"(?!more\b|further\b|additional\b|to (?:stop|finish|end|leave|help|assist|know|see)\b)"
)
"""Its user's words, though, which a policy may hand on: "I want the sky blue"."""
_REFUSES = re.compile(
    r"\b(?:i|we) (?:can't|cannot|can not|could not|couldn't|won't|will not|am (?:not able|unable))\b|"
    r"\bi'm (?:not able|unable|sorry)\b"
)
_UNABLE = re.compile(
    r"(?:can't|cannot|can not|unable to|not able to|won't|refuse to|refusing to|decline to) |"
    r"(?:this|the|that|your|such a|such) (?:requested )?(?:request|instruction|content|edit|task|image)s? "
    r"(?:violates?|goes against|is against|can't|cannot|can not|"
    r"(?:is not|isn't) (?:allowed|permitted|possible|appropriate)|"
    r"is (?:inappropriate|impossible|unsafe|harmful|refused|denied))\b|"
    r"it(?:'s| is) (?:not possible|impossible|not appropriate|inappropriate|not allowed) to |"
    r"(?:request|content policy|safety policy) (?:denied|refused|rejected|declined|violation)\b"
)


def names_no_edit(text: str) -> bool:
    """Whether a text in place of an edit says that there is none, or says nothing.

    Args:
        text: what stands inside `<edit>`.
    """
    words = _read_words(text)
    if not any(letter.isalpha() for word in words for letter in word):
        return True
    if all(len(word) == 1 for word in words):
        words = ["".join(words)]  # "S T O P"
    if _PLACEHOLDER.fullmatch(text.strip("\"'`*. \n")) or _is_refusal(text, words):
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
    said = " ".join(words)
    if _ALL.fullmatch(said) or _SHOWN.fullmatch(said):
        return True
    return _KEPT.fullmatch(said) is not None and not _PAUSE.search(text)


def denies_stop(text: str) -> bool:
    """Whether the reason given for a stop is that there is none: `<stop>no</stop>`.

    Args:
        text: what stands inside `<stop>`.
    """
    return " ".join(_read_words(text)) in ("no", "false", "not yet", "no stop", "do not stop", "don't stop")


def _read_words(text: str) -> list[str]:
    """The words in one spelling: full-width letters and capitals are as others, and so are apostrophes."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold().replace("’", "'"))


def _is_refusal(text: str, words: list[str]) -> bool:
    """Whether it speaks of whoever answers, or says that it can't be done. Quoted words at its beginning are
    a name: '"I am" on the wall: remove it'."""
    if text.lstrip()[:1] in _QUOTES and text.rstrip(" .!\n")[-1:] not in _QUOTES:
        return False
    said = " ".join(words)
    if _UNABLE.match(said):
        return True
    return _SPEAKS.match(said) is not None and (
        _WISHES.match(said) is None or _REFUSES.search(said) is not None
    )


def _is_broken_off(text: str) -> bool:
    """Whether the first word stands by itself: "STOP: the mug is red", and not "Stop sign in red"."""
    return re.match(r"\W*\w+\s*(?:[:;.,!…–—(]|\s-\s)", unicodedata.normalize("NFKC", text)) is not None
