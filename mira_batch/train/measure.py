"""What is measured of a model beside its training: its answers on samples that it doesn't learn from, and
whether it sees.

Shapes: B rows, T tokens of the longest row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mira_batch.core.errors import UserError
from mira_batch.train.encoding import SampleEncoder
from mira_batch.train.losses import IGNORED, token_logprobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """How a model does on given answers; sums, so that parts add up."""

    loss: float
    """Negative log-likelihood of all tokens, in nats."""
    right: int
    """Tokens that the model would have said itself, given those before."""
    tokens: int

    def __add__(self, other: AnswerScores) -> AnswerScores:
        return AnswerScores(self.loss + other.loss, self.right + other.right, self.tokens + other.tokens)


def score_answers(
    model: Any, batches: Iterable[Mapping[str, Tensor]], arithmetic: AbstractContextManager[Any] | None = None
) -> AnswerScores:
    """Log-likelihood and accuracy of the labelled tokens of batches; nothing is learned, and nothing drawn.

    Args:
        model: of transformers.
        batches: padded on the right, with labels.
        arithmetic: the context that forward passes run in, for mixed precision.
    """
    import torch

    total = AnswerScores(0.0, 0, 0)
    with hold_still(model), torch.no_grad(), arithmetic or nullcontext():
        for batch in batches:
            logits, labels = forward_answers(model, batch)
            logprobs, mask = token_logprobs(logits, labels)
            right = (logits[:, :-1].argmax(-1) == labels[:, 1:]) & mask
            total += AnswerScores(-float(logprobs.double().sum()), int(right.sum()), int(mask.sum()))
    return total


def measure_sight(
    model: Any,
    encoder: SampleEncoder,
    samples: Sequence[Mapping[str, Any]],
    arithmetic: AbstractContextManager[Any] | None = None,
) -> float:
    """How far the images matter: the mean change of an answer's log-likelihood, in nats and in either
    direction, when grey stands in for the images.

    Args:
        model: of transformers.
        encoder: of its samples.
        samples: rows of `storage.samples.SAMPLES`.
        arithmetic: as `score_answers` takes it.

    Raises:
        UserError: no answer's likelihood changes at all: the model doesn't see.
    """
    import torch

    changes = []
    with hold_still(model), torch.no_grad(), arithmetic or nullcontext():
        for sample in samples:
            seen, blank = (
                float(token_logprobs(*forward_answers(model, encoder.encode_sample(sample, blank)))[0].sum())
                for blank in (False, True)
            )
            changes.append(abs(seen - blank))
    if not any(changes):
        raise UserError(
            f"the model is blind: of {len(samples)} samples no answer's likelihood changes when images are "
            "blanked; they don't reach the model (its processor, its weights, or a mask of its attention)"
        )
    return sum(changes) / len(changes)


def forward_answers(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Logits of the places that labels need, and these labels, for `token_logprobs`.

    Args:
        model: of transformers.
        batch: padded on the right, with labels.
    """
    device = next(model.parameters()).device
    inputs = {name: value.to(device) for name, value in batch.items() if name != "labels"}
    labels = batch["labels"].to(device)
    first = int((labels != IGNORED).any(0).nonzero()[0])
    keep = labels.shape[1] - first + 1  # of a vocabulary of 150,000 all logits of a prompt are gigabytes
    logits = model(**inputs, use_cache=False, logits_to_keep=keep).logits
    return logits, labels[:, -keep:]


@contextmanager
def hold_still(model: Any) -> Iterator[None]:
    """Inside nothing is drawn: dropout is off."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
