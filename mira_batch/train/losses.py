"""Losses and advantages of policy-gradient training: pure functions of tensors, without any state.

Owns the arithmetic alone. Where the numbers come from (rollouts, rewards, forward passes) is the trainers'.
Letters of shapes: B sequences (rows) of a batch, T tokens of the longest answer, V words of the vocabulary.

Sources, each named at what is taken from it:

    GRPO      arXiv 2402.03300, equations 3 and 4: group-relative advantage, clipped ratio, KL by k3
    DAPO      arXiv 2503.14476, equations 8 and 12: asymmetric clip, loss over all tokens of the batch
    Dr. GRPO  arXiv 2503.20783, section 3.2: no length and no spread in the normalisation
    GSPO      arXiv 2507.18071, equations 5 and 7: one ratio per sequence, the geometric mean of its tokens'
    AsymRE    arXiv 2506.20520: what did worse than the mean counts for less. It lowers the baseline; here the
              advantages below 0 have a factor, so that groups still decide which these are
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
"""Label of a token that is no part of what is learned."""
Level = Literal["token", "sequence"]
"""What a ratio is of: each token by itself, or the whole sequence (GSPO)."""
Normalisation = Literal["grpo", "dapo", "dr_grpo"]
"""What a batch's loss is the mean over: sequences, each the mean of its tokens (grpo); all tokens alike
(dapo); sequences, each the sum of its tokens divided by a constant (dr_grpo)."""


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """The loss of a batch, and what to watch beside it."""

    loss: Tensor
    """(), to be minimised; with its gradient."""
    clipped: float
    """Share of tokens whose ratio the clip holds back, so that they give no gradient."""
    ratio: float
    """Mean ratio over tokens; 1 on policy."""
    kl: float | None
    """Mean over tokens of the divergence from the reference, in nats; None without one."""


def token_logprobs(logits_B_T_V: Tensor, labels_B_T: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each labelled token, in float32 at least.

    The logits at a place are of the token after it: log p(labels[t]) is read from logits[t - 1].

    Args:
        logits_B_T_V: of a forward pass over the same tokens.
        labels_B_T: their ids; `IGNORED` where a token is no part of the answer.

    Returns:
        (B, T - 1) log-probabilities, 0 where ignored; (B, T - 1) True where a token counts.
    """
    targets = labels_B_T[:, 1:]
    mask = targets != IGNORED
    logits = logits_B_T_V[:, :-1]
    if logits.element_size() < 4:
        logits = logits.float()
    chosen = logits.gather(-1, targets.clamp_min(0)[..., None])[..., 0]
    return (chosen - logits.logsumexp(-1)) * mask, mask


def measure_ratio(logprobs_B_T: Tensor, old_B_T: Tensor, mask_B_T: Tensor, level: Level) -> Tensor:
    """How much likelier each answer is under the policy that learns than under the one that drew it.

    token: r_t = pi(y_t) / pi_old(y_t) (GRPO equation 3). sequence: s = (prod_t r_t)^(1 / |y|), the same for
    all tokens of a sequence (GSPO equation 7).

    Args:
        logprobs_B_T: of the policy that learns, with gradient.
        old_B_T: of the policy that drew the tokens.
        mask_B_T: which tokens count.
        level: whose ratio.

    Returns:
        (B, T) ratios.
    """
    mask = mask_B_T.to(logprobs_B_T.dtype)
    logs = (logprobs_B_T - old_B_T) * mask
    if level == "sequence":
        logs = (logs.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp_min(1)).expand_as(logs)
    return logs.exp()


def measure_kl(logprobs_B_T: Tensor, reference_B_T: Tensor) -> Tensor:
    """Estimate of KL(policy || reference) from the token that was drawn, never below 0 (GRPO equation 4).

    k3 = pi_ref / pi - log(pi_ref / pi) - 1

    The gradient is that of this term alone: it is not weighted by the ratio, as it is by DeepSeek-V3.2 and by
    TRL's default (`use_bias_correction_kl`).

    Args:
        logprobs_B_T: of the policy that learns.
        reference_B_T: of the reference.

    Returns:
        (B, T), in nats.
    """
    log = reference_B_T - logprobs_B_T
    return log.exp() - log - 1


def clip_surrogate(
    ratio_B_T: Tensor, advantages_B_T: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """The clipped objective of each token, to be minimised (GRPO equation 3; two bounds: DAPO equation 8).

    -min(r A, clip(r, 1 - low, 1 + high) A)

    Args:
        ratio_B_T: from `measure_ratio`.
        advantages_B_T: of each token.
        low: how far below 1 a ratio may count.
        high: how far above.

    Returns:
        (B, T) losses; (B, T) True where the clip holds the ratio back, so that its gradient is 0.
    """
    import torch

    free = ratio_B_T * advantages_B_T
    bound = ratio_B_T.clamp(1 - low, 1 + high) * advantages_B_T
    return -torch.minimum(free, bound), bound < free


def normalise_loss(
    loss_B_T: Tensor,
    mask_B_T: Tensor,
    by: Normalisation,
    *,
    constant: float | None = None,
    tokens: float | None = None,
    sequences: float | None = None,
) -> Tensor:
    """One number of a batch's token losses.

    grpo:    (1 / B) sum_i (1 / |y_i|) sum_t loss_it      GRPO equation 3: a long answer counts as a short one
    dapo:    (1 / sum_i |y_i|) sum_i sum_t loss_it        DAPO equation 12: a token counts as any other
    dr_grpo: (1 / (B c)) sum_i sum_t loss_it              Dr. GRPO: as dapo, whatever a batch's lengths are

    A batch that is computed in parts (micro-batches, workers) gives the counts of the whole one to each part;
    the parts then add up to the whole.

    Args:
        loss_B_T: of each token.
        mask_B_T: which tokens count.
        by: the name of the normalisation.
        constant: dr_grpo's c, the longest answer allowed, in tokens.
        tokens: how many count in the whole batch; None: this is all of it.
        sequences: how many the whole batch has; None: this is all of it.

    Raises:
        ValueError: `constant` is missing with dr_grpo, or given without.
    """
    if (constant is None) == (by == "dr_grpo"):
        raise ValueError(
            f"constant: is for dr_grpo, which needs it; normalisation is {by}, constant {constant}"
        )
    mask = mask_B_T.to(loss_B_T.dtype)
    of_sequences = (loss_B_T * mask).sum(-1)
    count = float(loss_B_T.shape[0]) if sequences is None else sequences
    if by == "grpo":
        return (of_sequences / mask.sum(-1).clamp_min(1)).sum() / count
    if by == "dapo":
        return of_sequences.sum() / (mask.sum().clamp_min(1) if tokens is None else tokens)
    assert constant is not None
    return of_sequences.sum() / (count * constant)


def policy_loss(
    logprobs_B_T: Tensor,
    old_B_T: Tensor,
    advantages: Tensor,
    mask_B_T: Tensor,
    *,
    low: float = 0.2,
    high: float = 0.28,
    level: Level = "token",
    by: Normalisation = "dapo",
    constant: float | None = None,
    reference_B_T: Tensor | None = None,
    kl_weight: float = 0.0,
    negative_weight: float = 1.0,
    tokens: float | None = None,
    sequences: float | None = None,
) -> PolicyLoss:
    """The loss of a batch of answers, from log-probabilities to one number.

    Args:
        logprobs_B_T: of the policy that learns, with gradient.
        old_B_T: of the policy that drew the tokens.
        advantages: (B,) one for each sequence, or (B, T).
        mask_B_T: which tokens count.
        low: how far below 1 a ratio may count.
        high: how far above. Sequence ratios vary far less than those of tokens: GSPO takes 3e-4 and 4e-4.
        level: what a ratio is of.
        by: what the loss is the mean over.
        constant: dr_grpo's.
        reference_B_T: log-probabilities of the reference, where `kl_weight` is above 0.
        kl_weight: factor of the divergence from the reference.
        negative_weight: factor of the advantages below 0.
        tokens: of the whole batch, as in `normalise_loss`.
        sequences: of the whole batch, as in `normalise_loss`.

    Raises:
        ValueError: as `normalise_loss`; a reference without a weight, or a weight without a reference.
    """
    import torch

    if (reference_B_T is None) != (kl_weight == 0):
        raise ValueError("kl_weight: above 0 it needs a reference, and a reference has no effect without it")
    ratio = measure_ratio(logprobs_B_T, old_B_T, mask_B_T, level)
    weighted = torch.where(advantages < 0, negative_weight * advantages, advantages)
    spread = weighted if weighted.dim() == 2 else weighted[:, None].expand_as(ratio)
    losses, held = clip_surrogate(ratio, spread, low, high)
    kl = None
    if reference_B_T is not None:
        divergence = measure_kl(logprobs_B_T, reference_B_T)
        losses = losses + kl_weight * divergence
        kl = _mean(divergence, mask_B_T)
    loss = normalise_loss(losses, mask_B_T, by, constant=constant, tokens=tokens, sequences=sequences)
    with torch.no_grad():
        return PolicyLoss(loss, _mean(held.to(ratio.dtype), mask_B_T), _mean(ratio, mask_B_T), kl)


def _mean(values_B_T: Tensor, mask_B_T: Tensor) -> float:
    mask = mask_B_T.to(values_B_T.dtype)
    return float((values_B_T.detach() * mask).sum() / mask.sum().clamp_min(1))
