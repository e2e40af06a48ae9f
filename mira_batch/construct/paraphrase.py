"""The paraphrase stage: complex instructions in other words, by a small grammar or a served model."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mira_batch.config.construct import ConstructConfig, ParaphraseConfig
from mira_batch.construct.merging import MERGE, Instructions, read_light
from mira_batch.construct.stages import Counts, PartWriter, Unit, read_part
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import content_hash
from mira_batch.storage.stores import Store

GRAMMAR = "grammar/1"
"""Names the tables below; changes whenever they do."""
_OPENINGS = ("{}", "Please {}", "Could you {}?", "I would like you to {}", "Can you {}?", "We need you to {}")
_CONNECTIVES = (", then ", "; then ", ", and then ", "; after that, ", ". After that, ", ". Next, ")
_VERBS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"^(remove|delete|erase) (?=\S)", re.IGNORECASE), ("remove ", "delete ", "erase ")),
    (re.compile(r"^(swap out|replace) (?=.+ with )", re.IGNORECASE), ("replace ", "swap out ")),
    (re.compile(r"^(brighten|lighten) (?=\S)", re.IGNORECASE), ("brighten ", "lighten ")),
    (re.compile(r"^(insert|add) (?=an? )", re.IGNORECASE), ("add ", "insert ")),
)
"""Verbs that say the same before whatever follows."""


def paraphrase_by_grammar(instruction: str, edits: Sequence[str] | None, seed: int) -> str:
    """The same instruction in other words: how politely it is asked, how edits are joined, and a few verbs.
    No edit, object, number or order changes.

    Args:
        instruction: as it is.
        edits: what it was merged from, in order; None where its owner worded it, which then stays as it is
        but
            for the opening.
        seed: of the draws.
    """
    draw = random.Random(seed)
    opening, joint = draw.choice(_OPENINGS), draw.choice(_CONNECTIVES)
    if edits is None:
        if not re.match(r"[A-Z]?[a-z]+ ", instruction):
            return instruction
        body = instruction.strip().rstrip(".")
    else:
        body = joint.join(_vary(edit, draw, first=index == 0) for index, edit in enumerate(edits))
    text = opening.format(_lower(body))
    text = text[:1].upper() + text[1:]
    return text if text.endswith(("?", "!")) else f"{text}."


def _vary(edit: str, draw: random.Random, first: bool) -> str:
    text = " ".join(edit.split()).rstrip(" .;,")
    for pattern, verbs in _VERBS:
        if pattern.match(text):
            verb = draw.choice(verbs)
            return pattern.sub(verb, text, count=1)
    return text if first else _lower(text)


def _lower(text: str) -> str:
    """A sentence as it stands behind other words; a first word with further capitals is a name."""
    word = text.split(" ", 1)[0]
    return text[:1].lower() + text[1:] if word[1:].islower() else text


async def _ask(
    rows: Sequence[Mapping[str, Any]], config: ParaphraseConfig
) -> tuple[list[list[str | None]], str]:
    """Paraphrases of each row by the model, None where it gave none; and its identity."""
    from mira_batch.models.remote import REWRITER, OpenAIRewriter, RewriteRequest
    from mira_batch.models.serving import Endpoint

    assert config.model is not None
    rewriter = OpenAIRewriter(config.model, config.model.sampling)
    endpoint: Endpoint[RewriteRequest, str] = Endpoint(
        REWRITER, rewriter.rewrite, config.model, close_client=rewriter.close
    )

    async def one(text: str, number: int) -> str | None:
        try:
            return (await endpoint.submit(RewriteRequest(text, draw_seed(config, text, number)))).value
        except RecordError:
            return None

    try:
        tasks = [[one(row["instruction"], number) for number in range(config.count)] for row in rows]
        found = await asyncio.gather(*(asyncio.gather(*some) for some in tasks))
    finally:
        await endpoint.close()
    return [list(some) for some in found], rewriter.identity


def draw_seed(config: ParaphraseConfig, instruction: str, number: int) -> int:
    """The seed of a paraphrase: of the config's, the instruction, and which of its paraphrases it is."""
    return int(content_hash("paraphrase", str(config.seed), instruction, str(number), size=8), 16) >> 1


def paraphrase(
    unit: Unit, writer: PartWriter, store: Store, config: ConstructConfig, instructions: Instructions
) -> Counts:
    """The instructions of one file, each followed by its paraphrases.

    Counts: `asked`, the instructions and as many paraphrases of each as are wanted, of which each is one of
    `instructions`, `dropped.duplicate`, or `dropped.no_answer` of the model.

    Args:
        unit: a file of `merged/`, and that of the sessions it is about.
        writer: for the instructions.
        store: the output.
        config: the job's.
        instructions: drops duplicates.
    """
    merged, sessions = unit.read
    digests = [session["original_digest"] for session in read_light(store, sessions)]
    counts: Counts = Counter()
    for batch in read_part(store, merged).to_batches(max_chunksize=256):
        rows = batch.to_pylist()
        if config.paraphrase.model is not None and config.paraphrase.count:
            found, by = asyncio.run(_ask(rows, config.paraphrase))
        else:
            found, by = [_vary_row(row, config.paraphrase) for row in rows], GRAMMAR
        for row, others in zip(rows, found, strict=True):
            digest = digests[row["session_row"]]
            counts["asked"] += 1 + len(others)
            instructions.add(writer, row, digest, counts)
            for text in others:
                if text is None:
                    counts["dropped.no_answer"] += 1
                    continue
                instructions.add(writer, row | {"instruction": text, "by": by}, digest, counts)
    return counts


def _vary_row(row: Mapping[str, Any], config: ParaphraseConfig) -> list[str | None]:
    edits = row["edits"] if row["by"] == MERGE else None
    text = row["instruction"]
    return [paraphrase_by_grammar(text, edits, draw_seed(config, text, n)) for n in range(config.count)]
