"""Qwen2.5-VL and Qwen3-VL policies in the worker, by transformers or by vLLM.

Owns their files, prompts as tokens, draws and adapters. Leaves the words of the prompt to `core/prompt.py`,
and served ones to remote/. torch, transformers and vLLM are imported when a policy is built.
"""

from mira_batch.models.qwen.files import check_adapter_files, check_qwen_files
from mira_batch.models.qwen.policy import QwenVLPolicy
from mira_batch.models.qwen.vllm_policy import VllmPolicy

__all__ = ["QwenVLPolicy", "VllmPolicy", "check_adapter_files", "check_qwen_files"]
