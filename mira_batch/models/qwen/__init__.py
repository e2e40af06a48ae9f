"""Qwen2.5-VL and Qwen3-VL in the worker: policies by transformers or by vLLM, and what judges ask.

Owns their files, prompts as tokens, draws and adapters; trainers take these from here, too. Leaves the
words of the prompt to `core/prompt.py`, and served ones to remote/. torch, transformers and vLLM are imported
when a model is built.
"""

from mira_batch.models.qwen.backend import QwenVLBackend
from mira_batch.models.qwen.encode import collate, encode_prompt, write_chat
from mira_batch.models.qwen.files import check_adapter_files, check_attention, check_qwen_files
from mira_batch.models.qwen.load import load_model, load_processor
from mira_batch.models.qwen.model import find_end_tokens
from mira_batch.models.qwen.policy import QwenVLPolicy
from mira_batch.models.qwen.vllm_policy import VllmPolicy
from mira_batch.models.qwen.windows import batch_windows

__all__ = [
    "QwenVLBackend",
    "QwenVLPolicy",
    "VllmPolicy",
    "batch_windows",
    "check_adapter_files",
    "check_attention",
    "check_qwen_files",
    "collate",
    "encode_prompt",
    "find_end_tokens",
    "load_model",
    "load_processor",
    "write_chat",
]
