"""What an endpoint says of the first token of an answer: the likeliest tokens with their probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mira_batch.core.questions import Answer
from mira_batch.models.serving import EndpointFault, Meaning

TOP = 20
"""Tokens that are asked for: the most that OpenAI and Gemini tell of."""

_MOST = 1.05
"""Probability of all tokens together, rounding of each included."""


def read_first_token(top: Sequence[tuple[str, float]], choices: Sequence[str], key: str | None) -> Answer:
    """The probabilities of some texts as the first token.

    What is known of a choice that is not among the likeliest is a bound alone: it is at most as likely as the
    least of those, and all that are missing share what those leave of 1.

    Args:
        top: the likeliest tokens, each with the logarithm of its probability.
        choices: the texts that were asked for.
        key: never quote.

    Raises:
        EndpointFault: there are none, or a number is no logarithm of a probability.
    """
    if not top:
        raise EndpointFault(
            Meaning.settings,
            "the answer has no logprobs, which this judge reads; take a server that gives them (vLLM, "
            "SGLang), or a judge that reads words (viescore)",
        )
    if not all(isinstance(p, int | float) and -math.inf <= p < 0.01 for _, p in top):  # rounding apart
        raise EndpointFault(Meaning.broken, f"a logprob is no logarithm of a probability: {top!r:.200}")
    chances = [(token, math.exp(min(0.0, logprob))) for token, logprob in top]
    if (total := sum(chance for _, chance in chances)) > _MOST:
        raise EndpointFault(
            Meaning.broken, f"the logprobs add up to a probability of {total:.3g}: {top!r:.200}"
        )
    found = {
        choice: sum(chance for token, chance in chances if token == choice)
        for choice in choices
        if any(token == choice for token, _ in top)
    }
    missing = len(choices) - len(found)
    left = max(0.0, 1.0 - total)
    unseen = min(left, missing * min(chance for _, chance in chances))
    # With the spaces of a token: by them alone it may be no digit.
    shown = [(token.replace(key, "***") if key else token, chance) for token, chance in chances[:5]]
    said = ", ".join(f"{token[:40]!r} {chance:.3f}" for token, chance in shown)
    logprobs = {choice: math.log(max(chance, 5e-324)) for choice, chance in found.items()}
    return Answer(said, logprobs, unseen)
