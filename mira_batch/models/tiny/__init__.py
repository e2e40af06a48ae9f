"""Tiny models of the real classes, written to disk: to try a pipeline without a download or a GPU.

They load and run exactly as the real ones do, in milliseconds, and answer nonsense. The tests use them, and
so can a user's own. Owns their shapes and weights; loading them is the business of qwen/ and diffusion/.
"""

from mira_batch.models.tiny.write import make_tiny

__all__ = ["make_tiny"]
