"""From the normalised text to clauses: where one ends, what joins it to the next, which comes first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from mira_batch.models.embedded.grammar import framing
from mira_batch.models.embedded.grammar.clause import Clause, Said
from mira_batch.models.embedded.grammar.normal import Normal
from mira_batch.models.embedded.grammar.pattern import Pattern, first_of
from mira_batch.models.embedded.grammar.unclear import Misread
from mira_batch.models.embedded.grammar.vocabulary import LEXICON

ORDER = "say the edits in the order in which they shall be made"


def _any_of(words: Sequence[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_JOINT = re.compile(
    rf"(?P<sign>[,;-]|and) |(?P<then>{_any_of(framing.THEN)}) "
    rf"|(?P<first>{_any_of(framing.FIRST)}) [,:]? ?|(?P<last>{_any_of(framing.LAST)}) [,:]? ?"
    rf"|(?P<ordinal>{_any_of(tuple(framing.ORDINALS))}) [,:]? ?"
)
_BOUNDARY = re.compile(
    rf"\Z|(?:[,;-]|and|with|before|after|{_any_of(framing.THEN)}|{_any_of(framing.LAST)}) "
)


_MEASURES = {"px", "percent", "quoted"}
"""After "with" only what has one of these is an edit of its own ("crop it square with a 10 px border")."""
_HARMLESS = {"kept", "sized", "unit", "start"}
"""What a phrase says that needs no operation to take it up."""


class Reader:
    """Reads one instruction."""

    def __init__(self, normal: Normal) -> None:
        self.normal = normal
        self.text = normal.text
        self.clauses: list[Clause] = []
        self.last = False
        """Whether "finally" has been said."""
        self.turned: list[str] = []
        """"before" and "after", where they stood between or in front of clauses."""

    def read(self) -> list[Clause]:
        """All clauses, in the order in which they are to be made."""
        at = self._skip(0)
        while at < len(self.text):
            clause = self._read_clause(at)
            self.clauses.append(clause)
            at = self._skip(self._skip_tails(clause.end))
        return self._put_in_order()

    def _skip(self, at: int) -> int:
        """Past joints, greetings and descriptions, to where the next clause begins."""
        while at < len(self.text):
            after = self._skip_joint(at) or self._skip_context(at) or self._skip_intro(at)
            if after is None:
                break
            at = after
        return at

    def _skip_joint(self, at: int) -> int | None:
        match = _JOINT.match(self.text, at)
        if match is None:
            return None
        count, found = len(self.clauses), match.lastgroup
        if (found == "first" and count) or (self.last and found != "sign" and count):
            raise Misread(at, match.end(), ORDER)
        if found == "ordinal" and framing.ORDINALS[match[0].split()[0]] != count + 1:
            raise Misread(at, match.end(), ORDER)
        if found == "last":
            self.last = True
        return match.end()

    def _skip_context(self, at: int) -> int | None:
        for pattern in framing.CONTEXTS:
            end = self._match(pattern, at)
            if end and (end == len(self.text) or self.text.startswith((", ", "; ", "- ", ": ", "and "), end)):
                return end + 2 if self.text.startswith(": ", end) else end
        return None

    def _skip_intro(self, at: int) -> int | None:
        return next((end for pattern in framing.INTROS if (end := self._match(pattern, at))), None)

    def _skip_tails(self, at: int) -> int:
        while True:
            start = at + 2 if self.text.startswith(", ", at) else at
            ends = (self._match(pattern, start) for pattern in framing.TAILS)
            end = next((end for end in ends if end and _BOUNDARY.match(self.text, end)), None)
            if end is None:
                return at
            at = end

    def _match(self, pattern: Pattern, at: int) -> int | None:
        if at >= len(self.text) or first_of(self.text, at) not in pattern.first:
            return None
        read = pattern.read(self.text, at)
        return read[1] if read and read[1] > at else None

    def _read_clause(self, at: int) -> Clause:
        """The longest clause that starts here and ends at a joint."""
        best: list[Clause] = []
        far: Clause | None = None
        for clause in self._find_clauses(at):
            if far is None or clause.end > far.end:
                far = clause
            tail = self._skip_tails(clause.end)
            if _BOUNDARY.match(self.text, tail):
                if best and clause.end > best[0].end:
                    best = []
                if not best or clause.end == best[0].end:
                    best.append(clause)
        why = ""
        for clause in best:
            try:
                return self._make(clause)
            except ValueError as error:
                why = why or str(error)
        if best or far is None:
            raise Misread(at, best[0].end if best else self.normal.stop(at), why)
        try:
            self._make(far)
        except ValueError as error:
            raise Misread(at, self.normal.stop(far.end), str(error)) from error
        raise Misread(far.end, self.normal.stop(far.end))

    def _make(self, clause: Clause) -> Clause:
        values = dict(clause.said)
        if "quoted" in values:
            values["quoted"] = self.normal.quoted[int(values["quoted"])]
        said = Said(values)
        made = clause.rule.make(said)
        if said.unused - _HARMLESS:
            raise ValueError("its parts contradict each other")
        return replace(clause, operations=made if isinstance(made, tuple) else (made,))

    def _find_clauses(self, at: int) -> Iterator[Clause]:
        for kind in ("verb", "label", "ask", "alone"):
            yield from LEXICON.find(kind, self.text, at)
        for pattern, kinds in framing.LEADS:
            end = self._match(pattern, at) if kinds else None
            if end:
                for kind in kinds:
                    for clause in LEXICON.find(kind, self.text, end):
                        lead = self.text[at:end]
                        if not lead.endswith("with ") or clause.said.keys() & _MEASURES:
                            yield replace(clause, start=at, lead=lead)
        if self.clauses:
            yield from self._find_carried(at)
        for title in LEXICON.find("title", self.text, at):
            yield from self._find_titled(title)

    def _find_carried(self, at: int) -> Iterator[Clause]:
        """Clauses that take their verb from the one before: "make it brighter and sharper"."""
        before = self.clauses[-1]
        if before.kind == "state" or (before.kind == "thing" and before.lead):
            for clause in LEXICON.find(before.kind, self.text, at):
                yield replace(clause, lead=before.lead, carried=True)
        if "way" in before.said:
            for clause in LEXICON.find("carried", self.text, at):
                yield replace(clause, said={"way": before.said["way"], **clause.said}, carried=True)

    def _find_titled(self, title: Clause) -> Iterator[Clause]:
        """A command after a label that names the same edit: "Border: add a 5 px white border"."""
        for kind in ("verb", "ask", "alone"):
            for clause in LEXICON.find(kind, self.text, title.end):
                if clause.rule is title.rule:
                    yield replace(clause, start=title.start)
        for pattern, kinds in framing.LEADS:
            end = self._match(pattern, title.end) if kinds else None
            for kind in kinds if end else ():
                for clause in LEXICON.find(kind, self.text, end or 0):
                    if clause.rule is title.rule:
                        yield replace(clause, start=title.start, lead=self.text[title.end : end])

    def _put_in_order(self) -> list[Clause]:
        """The clauses in the order meant: "A after B" and "before A, B" say B first."""
        clauses = self.clauses
        turned = [
            at
            for at, clause in enumerate(clauses)
            if (clause.lead.startswith("before ") and at == 0)
            or (clause.lead.startswith("after ") and at > 0)
        ]
        if not turned:
            return clauses
        if len(clauses) != 2 or len(turned) > 1:
            raise Misread(clauses[turned[0]].start, clauses[turned[0]].end, ORDER)
        return clauses[::-1]
