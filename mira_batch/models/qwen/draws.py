"""How the tokens of a Qwen-VL policy are drawn: each row from a generator of its own.

Shapes: B rows, T tokens so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mira_batch.config.models.local import SamplingConfig

if TYPE_CHECKING:
    from torch import Tensor


class Draws:
    """A logits processor: tokens that must never be said are ruled out, and where the temperature is above
    0, adding Gumbel noise makes the largest score a draw from the distribution (top-k and top-p included).

    The n-th token of a row takes the n-th draw of the row's own generator, whatever its neighbours do.
    """

    def __init__(
        self, sampling: SamplingConfig, seeds: Sequence[int], never_V: Tensor, log: bool = False
    ) -> None:
        """
        Args:
            sampling: how tokens are drawn.
            seeds: of each row.
            never_V: true for ids that are never said.
            log: whether to note the log-probability of each token that is drawn.
        """
        import torch

        self._log = log
        self._logprobs: list[Tensor] = []

        self._temperature, self._top_p = resolve_sampling(sampling)
        self._top_k: int | None = getattr(sampling, "top_k", None)
        self._never_V = never_V
        self._generators = [torch.Generator(never_V.device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """`input_ids` (B, T) so far, `scores` (B, V) of the next token -> scores (B, V)."""
        drawn_B_V = self._draw(scores)
        if self._log:
            logprobs_B_V = scores.float().log_softmax(dim=-1)  # of what the model gave, before anything else
            self._logprobs.append(logprobs_B_V.gather(1, drawn_B_V.argmax(dim=-1, keepdim=True)))
        return drawn_B_V

    def read_logprobs(self) -> Tensor:
        """The log-probabilities of the tokens drawn so far, (B, N) in float32: log-softmax over the whole
        vocabulary of the model's own logits. What follows the end of a row means nothing."""
        import torch

        return torch.cat(self._logprobs, dim=1).cpu()

    def _draw(self, scores: Tensor) -> Tensor:
        import torch

        scores_B_V = scores.masked_fill(self._never_V, -torch.inf)
        if self._temperature == 0:
            return scores_B_V
        scores_B_V = keep_likeliest(scores_B_V / self._temperature, self._top_k)
        scores_B_V = keep_nucleus(scores_B_V, self._top_p)
        noise_B_V = torch.empty_like(scores_B_V)
        for noise_V, generator in zip(noise_B_V, self._generators, strict=True):
            noise_V.exponential_(generator=generator)
        return scores_B_V - noise_B_V.clamp_min(torch.finfo(noise_B_V.dtype).tiny).log()


def resolve_sampling(sampling: SamplingConfig) -> tuple[float, float]:
    """Temperature and top-p, null being 0 and 1."""
    temperature, top_p = sampling.temperature, sampling.top_p
    return 0.0 if temperature is None else temperature, 1.0 if top_p is None else top_p


def keep_likeliest(scores_B_V: Tensor, top_k: int | None) -> Tensor:
    """Rule out all but the `top_k` likeliest tokens of a row, of equal ones the first: (B, V) -> (B, V).

    Args:
        scores_B_V: of the next token.
        top_k: how many are kept; None keeps all.
    """
    import torch

    if top_k is None or top_k >= scores_B_V.shape[-1]:
        return scores_B_V
    order_B_V = scores_B_V.sort(dim=-1, descending=True, stable=True).indices
    beyond_B_V = torch.zeros_like(scores_B_V, dtype=torch.bool)
    return scores_B_V.masked_fill(beyond_B_V.scatter(1, order_B_V[:, top_k:], True), -torch.inf)


def keep_nucleus(scores_B_V: Tensor, top_p: float) -> Tensor:
    """Rule out all but the likeliest tokens of a row that make up probability `top_p`: (B, V) -> (B, V).

    transformers' own warper keeps other tokens where scores are equal, as they often are in bfloat16, and so
    would draw other texts (docs/adr/0014).
    """
    import torch

    if top_p >= 1:
        return scores_B_V
    sorted_B_V, order_B_V = scores_B_V.sort(dim=-1, descending=True)
    chances_B_V = sorted_B_V.softmax(dim=-1)
    beyond_B_V = chances_B_V.cumsum(dim=-1) - chances_B_V >= top_p
    return scores_B_V.masked_fill(beyond_B_V.scatter(1, order_B_V, beyond_B_V), -torch.inf)
