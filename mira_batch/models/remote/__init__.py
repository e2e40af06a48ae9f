"""Models behind endpoints: one call each, in the words of the vendor's client.

Owns requests, answers, prices, and which of a client's errors is which fault. Leaves retries, limits and what
follows from a fault to serving/, and the words of prompts to core/ and judges/. The vendors' packages are
imported when a model is built.
"""

from mira_batch.models.remote.gemini_backend import GeminiBackend
from mira_batch.models.remote.gemini_images import GeminiImages
from mira_batch.models.remote.openai_backend import OpenAIBackend
from mira_batch.models.remote.openai_images import OpenAIImages
from mira_batch.models.remote.openai_judge import OpenAIJudge
from mira_batch.models.remote.openai_policy import OpenAIPolicy
from mira_batch.models.remote.openai_rewriter import REWRITER, OpenAIRewriter, RewriteRequest

__all__ = [
    "REWRITER",
    "GeminiBackend",
    "GeminiImages",
    "OpenAIBackend",
    "OpenAIImages",
    "OpenAIJudge",
    "OpenAIPolicy",
    "OpenAIRewriter",
    "RewriteRequest",
]
