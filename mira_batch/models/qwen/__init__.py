"""Qwen2.5-VL and Qwen3-VL in the worker: policies by transformers or by vLLM, and what judges ask.

Owns their files, prompts as tokens, draws and adapters. Leaves the words of the prompt to `core/prompt.py`,
and served ones to remote/. torch, transformers and vLLM are imported when a model is built.
"""

from mira_batch.models.qwen.backend import QwenVLBackend
from mira_batch.models.qwen.files import check_adapter_files, check_qwen_files
from mira_batch.models.qwen.policy import QwenVLPolicy
from mira_batch.models.qwen.vllm_policy import VllmPolicy

__all__ = ["QwenVLBackend", "QwenVLPolicy", "VllmPolicy", "check_adapter_files", "check_qwen_files"]
