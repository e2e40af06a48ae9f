"""Tiny models of the real classes, written to disk: to try a pipeline without a download or a GPU.

They load and run exactly as the real ones do, in milliseconds, and answer nonsense. The tests use them, and
so can a user's own. The parts that make a model one of Qwen's, and FLUX's scheduler, are for others to build
with, too. Owns their shapes and weights; loading them is the business of qwen/ and diffusion/.
"""

from mira_batch.models.tiny.diffusion import build_scheduler
from mira_batch.models.tiny.parts import (
    CHAT_TEMPLATE,
    count_vocabulary,
    find_text_ids,
    find_token_ids,
    learn_tokenizer,
    set_ends,
)
from mira_batch.models.tiny.write import make_tiny

__all__ = [
    "CHAT_TEMPLATE",
    "build_scheduler",
    "count_vocabulary",
    "find_text_ids",
    "find_token_ids",
    "learn_tokenizer",
    "make_tiny",
    "set_ends",
]
