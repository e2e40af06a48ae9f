"""One edit of an instruction: a head that says which, and details, each understood as a whole.

A rule lists, as phrases, what may begin its clause: commands ("rotate", "make it upside down"), labels of an
order form ("Rotation:") and the few phrases that need no verb ("90° clockwise"). After the head come details
in any order, none twice. So every word is read where it stands, and one that no phrase has ends the clause.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mira_batch.models.embedded.grammar.normal import Normal
from mira_batch.models.embedded.grammar.pattern import Pattern, compile_pattern, first_of, words_of
from mira_batch.models.embedded.grammar.phrases import NAMES
from mira_batch.models.embedded.grammar.tokens import Token
from mira_batch.models.embedded.operations.operation import Operation


class Said:
    """What the phrases of a clause say, name -> value, and what of it nobody has asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.unused = set(values)

    def __contains__(self, name: str) -> bool:
        self.unused.discard(name)
        return name in self._values

    def __getitem__(self, name: str) -> str:
        self.unused.discard(name)
        return self._values[name]

    def get(self, name: str, default: str = "") -> str:
        """The value, or the default where it was not said."""
        self.unused.discard(name)
        return self._values.get(name, default)


Made = Operation | tuple[Operation, ...]


@dataclass(frozen=True)
class Rule:
    """The phrases of one kind of edit. `make` raises a `ValueError` that says what is missing."""

    make: Callable[[Said], Made]
    verbs: tuple[str, ...] = ()
    """Commands. They may also stand as "I want it rotated" or "after rotating"."""
    states: tuple[str, ...] = ()
    """What follows "make it", "I want it", "it should be"."""
    things: tuple[str, ...] = ()
    """What follows "add", "give it", "apply"; with a "please" it stands alone."""
    added: tuple[str, ...] = ()
    """The same of phrases that are no clear wish alone ("contrast 10%")."""
    asks: tuple[str, ...] = ()
    """Phrases without a verb that can only be a wish ("20% brighter")."""
    alone: tuple[str, ...] = ()
    """Phrases without a verb that may also describe ("black and white")."""
    asked: tuple[str, ...] = ()
    """Phrases without a verb that are wishes only with a "please"."""
    labels: tuple[str, ...] = ()
    """What stands before a colon, with the value after it."""
    carried: tuple[str, ...] = ()
    """What may follow a clause with a direction and take that over ("raise contrast and brightness")."""
    titles: tuple[str, ...] = ()
    """Labels that stand before a command or a detail of this very edit ("Border: add a white border")."""
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """How a clause may begin."""

    pattern: Pattern
    rule: Rule
    details: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause that was understood."""

    kind: str
    """verb, state, thing, ask, alone, label: by which phrases it began."""
    rule: Rule
    said: Mapping[str, str]
    start: int
    end: int
    lead: str = ""
    """The words before the head: "make it", "add"."""
    operations: tuple[Operation, ...] = ()
    carried: bool = False
    """Whether its verb is that of the clause before."""


def find_between(normal: Normal, before: Clause, clause: Clause) -> Sequence[Token]:
    """The tokens between two clauses of an instruction."""
    return normal.tokens[normal.index(before.end - 1) + 1 : normal.index(clause.start)]


@dataclass(frozen=True)
class Lexicon:
    """All rules, compiled: kind of head -> first word -> heads."""

    heads: Mapping[str, Mapping[str, list[Head]]] = field(default_factory=dict)
    words: frozenset[str] = frozenset()

    def find(self, kind: str, text: str, at: int) -> Iterator[Clause]:
        """The clauses of this kind that may start here, those of one head the longest first."""
        for head in self.heads.get(kind, {}).get(first_of(text, at), ()):
            began = head.pattern.read(text, at)
            if began is not None:
                said, end = began
                if kind == "title":
                    yield Clause(kind, head.rule, said, at, end)
                    continue
                yield from _add_details(Clause(kind, head.rule, said, at, end), head.details, text)


def _add_details(clause: Clause, left: tuple[Pattern, ...], text: str) -> Iterator[Clause]:
    at = clause.end
    if text.startswith(", ", at):
        at += 2
    first = first_of(text, at) if at < len(text) else ""
    for detail in left:
        if first not in detail.first:
            continue
        read = detail.read(text, at)
        if read is None or read[1] == at or read[0].keys() & clause.said.keys():
            continue
        more = Clause(clause.kind, clause.rule, {**clause.said, **read[0]}, clause.start, read[1])
        yield from _add_details(more, tuple(d for d in left if d is not detail), text)
    yield clause


def compile_rules(rules: tuple[Rule, ...]) -> Lexicon:
    heads: dict[str, dict[str, list[Head]]] = defaultdict(lambda: defaultdict(list))
    words: set[str] = set()
    for rule in rules:
        details = tuple(compile_pattern(source, NAMES) for source in rule.details)
        kinds = {
            "verb": rule.verbs,
            "state": rule.states,
            "thing": (*rule.things, *rule.added),
            "ask": rule.asks,
            "alone": rule.alone,
            "asked": (*rule.asked, *rule.things),
            "label": tuple(f"{label} :" for label in rule.labels),
            "carried": rule.carried,
            "title": tuple(f"{title} :|-" for title in rule.titles),
        }
        for kind, sources in kinds.items():
            forms = ("", "+ed", "+ing") if kind == "verb" else ("",)
            for source in sources:
                for form in forms:
                    pattern = compile_pattern(source, NAMES, form)
                    for first in pattern.first:
                        heads[kind + form][first].append(Head(pattern, rule, details))
            words |= words_of(sources, NAMES)
        words |= words_of(rule.details, NAMES)
    return Lexicon(heads, frozenset(words))
