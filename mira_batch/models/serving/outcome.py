"""One call of a model in this process: its answers or its fault, and what its errors mean."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from mira_batch.core.errors import EngineDead, describe, read_message

Q = TypeVar("Q")
R = TypeVar("R")
Call = Callable[[Sequence[Q]], Sequence[R | Exception]]

_OUT_OF_MEMORY = re.compile(
    r"(CUDA|HIP)( driver)? error: out of memory"  # torch.AcceleratorError, code cudaErrorMemoryAllocation
    r"|Triton Error \[(CUDA|HIP)\]: out of memory"
    r"|out of memory\. Tried to allocate"
    r"|\bCU[A-Z]+_\w*ALLOC\w*_FAILED"  # cuBLAS, cuDNN, cuFFT … find no memory for a workspace
    r"|CPUAllocator: (can't allocate|not enough) memory",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Outcome(Generic[R]):
    """How a call ended. An error that ran out of memory is kept without its traceback: that holds the
    call's tensors, and while they live the next call would run out of memory too."""

    answers: Sequence[R | Exception] | None
    """One per request; None when the call raised and several requests may be to blame."""
    ran_out: bool = False
    """Whether the call ran out of memory."""
    met_others: bool = False
    """Whether calls of other replicas or models were in progress meanwhile."""
    seconds: float = 0.0


def call_model(call: Call[Q, R], requests: list[Q]) -> Outcome[R]:
    """Call a model. This is the boundary of what it may raise; it never raises itself."""
    try:
        return Outcome(take_answers(call(requests), len(requests)))
    except EngineDead as error:
        return Outcome([error] * len(requests))
    except Exception as error:
        if is_engine_dead(error):
            return Outcome([EngineDead(describe(error))] * len(requests))
        ran_out = is_out_of_memory(error)
        if ran_out:
            error.__cause__ = error.__context__ = error.__traceback__ = None
        return Outcome([error] if len(requests) == 1 else None, ran_out)
    except BaseException as error:  # SystemExit, say: it would end this thread and leave all waiting
        return Outcome([EngineDead(f"the model ended its thread: {describe(error)}")] * len(requests))


def take_answers(found: Any, asked: int) -> list[Any]:
    """What a call returned, as one answer for each request.

    Args:
        found: what the model returned: anything that can be iterated over, even without end.
        asked: how many requests it got.

    Raises:
        TypeError: it is no sequence of answers.
        ValueError: there are too few or too many.
    """
    if isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
        raise TypeError(f"the call returned a {type(found).__name__}, not a list of answers")
    answers = list(islice(found, asked + 1))
    if len(answers) != asked:
        many = f"{len(answers)}" if len(answers) < asked else f"more than {asked}"
        plural = "s" if asked != 1 else ""
        raise ValueError(f"the model gave {many} answers to a call of {asked} request{plural}")
    return answers


def is_engine_dead(error: BaseException) -> bool:
    """Whether a fault is sticky: after it every CUDA call of the process fails, or vLLM's engine is gone.

    Running out of memory is not, though torch says that with "CUDA error:" too. Only the text of a
    RuntimeError counts, as torch's are: others may quote an instruction. vLLM's are known by their class,
    EngineDeadError or what its versions put before it (Async, MQ); it isn't imported.
    """
    if any(c.__name__.endswith("EngineDeadError") for c in type(error).__mro__):
        return True
    if is_out_of_memory(error) or not isinstance(error, RuntimeError):
        return False
    text = read_message(error) or ""
    return type(error).__name__ == "AcceleratorError" or "CUDA error:" in text or "NCCL error" in text


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out. torch's are known by name or text: torch isn't imported."""
    if isinstance(error, MemoryError) or any(c.__name__ == "OutOfMemoryError" for c in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(read_message(error) or "") is not None


def free_memory() -> None:
    """Free what nobody uses: cycles that hold tensors, and what torch keeps of a GPU for later."""
    gc.collect()
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_available():
        with suppress(RuntimeError):  # a broken GPU; the next call meets the same error and names it
            cuda.empty_cache()
