"""What the errors of a call mean."""

from __future__ import annotations

import pytest
import torch

from mira_batch.core.errors import EngineDead, RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.outcome import call_model, is_engine_dead, is_out_of_memory


def from_torch(size: int) -> Exception:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(size)
    return caught.value


HINT = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below "
    "might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
)


class OnlyNamed(torch.OutOfMemoryError):
    pass


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        from_torch(1 << 50),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has …"),
        OnlyNamed("no text"),
        torch.AcceleratorError(
            f"CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in …{HINT}"
        ),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 MiB (GPU 0; 15.90 GiB total capacity"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
    ],
)
def test_errors_that_say_memory_ran_out(error: Exception) -> None:
    assert is_out_of_memory(error) and not is_engine_dead(error)


class EngineDeadError(Exception):
    """As in vllm.v1.engine.exceptions, which isn't installed: no RuntimeError, and with words of its own."""

    def __init__(self) -> None:
        super().__init__("EngineCore encountered an issue. See stack trace (above) for the root cause.")


class AsyncEngineDeadError(RuntimeError):
    """As older versions of vLLM have it."""


@pytest.mark.parametrize(
    "error",
    [
        EngineDeadError(),
        AsyncEngineDeadError("Background loop has errored already."),
        AsyncEngineDeadError("CUDA out of memory. Tried to allocate 2.00 MiB"),
    ],
)
def test_an_engine_that_is_gone_is_known_by_its_class(error: Exception) -> None:
    assert is_engine_dead(error)

    def call(requests: list[int]) -> list[str]:
        raise error

    answers = call_model(call, [1, 2]).answers
    assert answers is not None and [type(answer) for answer in answers] == [EngineDead] * 2


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError(f"CUDA error: an illegal memory access was encountered{HINT}"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, …"),
        RuntimeError("NCCL error in: NCCLUtils.hpp:1, unhandled cuda error, Cuda failure 2 'out of memory'"),
    ],
)
def test_errors_after_which_the_process_is_of_no_use(error: Exception) -> None:
    assert is_engine_dead(error) and not is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("out of memory"),
        ValueError("don't understand 'CUDA error: out of memory'"),
        RecordError(ErrorKind.instruction_unclear, "what is 'CUDA error: paint it red'?"),
        RuntimeError("the mat is out of memory foam"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)"),
    ],
)
def test_errors_that_only_look_like_it(error: Exception) -> None:
    assert not is_out_of_memory(error) and not is_engine_dead(error)
