"""From the normalised text to clauses: where one ends, what joins it to the next, which comes first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from mira_batch.models.embedded.grammar import framing
from mira_batch.models.embedded.grammar.clause import Clause, Said
from mira_batch.models.embedded.grammar.normal import Normal
from mira_batch.models.embedded.grammar.pattern import Index, first_of
from mira_batch.models.embedded.grammar.plain import asks_for_text
from mira_batch.models.embedded.grammar.unclear import UNQUOTED, Misread
from mira_batch.models.embedded.grammar.vocabulary import LEXICON

ORDER = "say the edits in the order in which they shall be made"


def _any_of(words: Sequence[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_JOINT = re.compile(
    rf"(?P<sign>[,;-]|and|:(?= ;)) |(?P<then>{_any_of(framing.THEN)}) (?:: )?"
    rf"|(?P<first>{_any_of(framing.FIRST)}) [,:]? ?|(?P<last>{_any_of(framing.LAST)}) [,:]? ?"
    rf"|(?P<ordinal>{_any_of(tuple(framing.ORDINALS))}) [,:]? ?"
)
_BOUNDARY = re.compile(rf"\Z|(?:[,;-]|and|with|before|after|{_any_of(framing.THEN)}) ")


_MEASURES = {"px", "percent", "share", "quoted"}
"""After "with" only what has one of these is an edit of its own ("crop it square with a 10 px border")."""
_HARMLESS = {"kept", "sized", "unit", "start"}
"""What a phrase says that needs no operation to take it up."""


class Reader:
    """Reads one instruction."""

    def __init__(self, normal: Normal, polite: Sequence[int]) -> None:
        self.normal = normal
        self.polite = polite
        self.text = normal.text
        self.clauses: list[Clause] = []
        self.last: int | None = None
        """How many clauses there were when "finally" was said."""

    def read(self) -> list[Clause]:
        """All clauses, in the order in which they are to be made."""
        at = self._skip(0)
        while at < len(self.text):
            clause = self._read_clause(at)
            if self.last is not None and len(self.clauses) > self.last:
                self._check_last(clause)
            end = self._skip_tails(clause.end)
            self.clauses.append(clause)
            at = self._skip(end)
        return self._put_in_order()

    def _check_last(self, clause: Clause) -> None:
        """After "finally" come no more edits, unless in the same sentence."""
        if not self.last or ";" in self.text[self.clauses[-1].end : clause.start]:
            raise Misread(clause.start, clause.end, ORDER)

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
        if found == "first" and count:
            raise Misread(at, match.end(), ORDER)
        if found == "ordinal" and framing.ORDINALS[match[0].split()[0]] != count + 1:
            raise Misread(at, match.end(), ORDER)
        if found == "last":
            self.last = count
        if found not in ("sign", "then") and match.end() == len(self.text):
            raise Misread(at, match.end(), ORDER)
        return match.end()

    def _skip_context(self, at: int) -> int | None:
        for end in self._find_ends(framing.CONTEXTS, at):
            if end == len(self.text) or self.text.startswith((", ", "; ", "- ", ": ", "and ", "so "), end):
                return end + 2 if self.text.startswith(": ", end) else end
        return None

    def _skip_intro(self, at: int) -> int | None:
        return next(self._find_ends(framing.INTROS, at), None)

    def _skip_tails(self, at: int) -> int:
        while True:
            if not self.clauses and self.text.startswith("first ", at):
                at += len("first ")  # "crop it first, then ..."
                continue
            start = at + 2 if self.text.startswith(", ", at) else at
            ends = self._find_ends(framing.TAILS, start)
            end = next((end for end in ends if _BOUNDARY.match(self.text, end)), None)
            if end is None:
                return at
            at = end

    def _find_ends(self, patterns: Index, at: int) -> Iterator[int]:
        """Where the phrases end that stand here."""
        for pattern in patterns.get(first_of(self.text, at), ()):
            read = pattern.read(self.text, at)
            if read and read[1] > at:
                yield read[1]

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
            raise self._misread(at, best[0].end if best else self.normal.stop(at), why)
        try:
            self._make(far)
        except ValueError as error:
            raise self._misread(at, self.normal.stop(far.end), str(error)) from error
        raise self._misread(far.end, self.normal.stop(far.end))

    def _misread(self, start: int, end: int, why: str = "") -> Misread:
        last = self.normal.index(end - 1)
        tokens = self.normal.tokens[self.normal.index(start) : last + 1]
        doubt = next((t.raw for t in tokens if t.kind == "mark" and t.raw[:1].isdigit()), None)
        if doubt:
            why = f"{doubt!r} can be read in more than one way; write it as in 1000 or 0.5"
        elif not why and any(self._lacks_quotes(i) for i in range(self.normal.index(start), last + 1)):
            why = UNQUOTED
        return Misread(start, end, why)

    def _lacks_quotes(self, index: int) -> bool:
        """Whether this word may be one to write: it has a capital and stands where a text is named."""
        token = self.normal.tokens[index]
        able = token.kind == "name" or (token.kind in ("word", "colour") and token.raw[:1].isupper())
        return able and asks_for_text(self.normal.tokens[:index])

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
        yield from self._find_commands(at)
        if self.clauses:
            yield from self._find_carried(at)
        for title in LEXICON.find("title", self.text, at):
            for clause in self._find_commands(title.end):
                if clause.rule is title.rule:  # "Border: add a 5 px white border"
                    yield replace(clause, start=at)

    def _find_commands(self, at: int) -> Iterator[Clause]:
        kinds = ("verb", "label", "ask", "alone")
        if self._says_please(at):
            kinds = (*kinds, "asked", framing.PARTICIPLE)
        elif self._is_numbered(at):
            kinds = (*kinds, framing.PARTICIPLE)
        for kind in kinds:
            yield from LEXICON.find(kind, self.text, at)
        for lead in framing.LEADS.get(first_of(self.text, at), ()):
            for end in self._find_ends({first_of(self.text, at): (lead,)}, at):
                words = self.text[at:end]
                for kind in framing.AFTER[lead]:
                    for clause in LEXICON.find(kind, self.text, end):
                        if not words.endswith("with ") or clause.said.keys() & _MEASURES:
                            yield replace(clause, start=at, lead=words)

    def _says_please(self, at: int) -> bool:
        """Whether there is a "please" in the stretch of words from here."""
        start = self.normal.tokens[self.normal.index(at)].start
        stop = self.normal.stop(at)
        while self.text.startswith("and ", stop):
            stop = self.normal.stop(stop)  # "mirrored and in sepia please"
        if re.compile(r", (?:[;,-] |\Z)").match(self.text, stop):
            stop += 2  # "mirrored, please"
        end = self.normal.source_of(stop)
        return any(start <= place <= end for place in self.polite)

    def _is_numbered(self, at: int) -> bool:
        """Whether an item of a numbered list begins here: in one, "2. mirrored" is no description."""
        before = self.normal.index(at) - 1
        return before >= 0 and self.normal.tokens[before].kind == "marker"

    def _find_carried(self, at: int) -> Iterator[Clause]:
        """Clauses that take their verb from the one before: "make it brighter and sharper"."""
        before = self.clauses[-1]
        kinds: tuple[str, ...] = ("thing",) if before.kind == "thing" and before.lead else ()
        if before.kind in ("state", framing.PARTICIPLE):
            kinds = ("state", framing.PARTICIPLE)
        for kind in kinds:
            for clause in LEXICON.find(kind, self.text, at):
                yield replace(clause, lead=before.lead, carried=True)
        if "way" in before.said:
            for clause in LEXICON.find("carried", self.text, at):
                yield replace(clause, said={"way": before.said["way"], **clause.said}, carried=True)

    def _put_in_order(self) -> list[Clause]:
        """The clauses in the order meant: "A after B" and "before A, B" say B first."""
        clauses = self.clauses
        timed = [c for c in clauses if c.lead.startswith(("before ", "after "))]
        turned = [c for c in timed if c.lead.startswith("before ") == (c is clauses[0])]
        if (timed and len(clauses) < 2) or (turned and len(clauses) > 2):
            raise Misread(timed[0].start, timed[0].end, ORDER)
        return clauses[::-1] if turned else clauses
