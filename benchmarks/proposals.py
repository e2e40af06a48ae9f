"""What several proposals at one state cost, where they share the run of their prompt.

A Qwen2.5-VL of the size of the synthetic world's policy, with random weights, answers the same requests in
turns: once as they come, and once with each encoded and run for itself.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.child import in_child
from benchmarks.figure import Bench, Figure, reported
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import PolicyRequest

STATES, PROPOSALS, TOKENS, SIDE = 4, 8, 32, 224
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def propose_in_turns(folder: str, rounds: int) -> dict[str, Any]:
    """Seconds of CPU of both, the best of some rounds, in a child.

    Args:
        folder: for the model's files.
        rounds: how often each has its turn.
    """
    import torch

    from mira_batch.config.models.local import QwenVLConfig
    from mira_batch.core.types import Weights
    from mira_batch.models.qwen.policy import QwenVLPolicy
    from mira_batch.train.world.model import write_base

    torch.set_num_threads(1)
    write_base(Path(folder))
    settings = {
        "type": "qwen_vl",
        "weights": folder,
        "dtype": "float32",
        "devices": ["cpu"],
        "sampling": {"max_tokens": TOKENS, "temperature": 1.0},
        "max_batch": STATES * PROPOSALS,
    }
    config = QwenVLConfig.model_validate(settings)
    policy = QwenVLPolicy(config, Weights(folder, "random"), "cpu")
    frames = [frame_of(make_noise(number)) for number in range(2 * STATES)]
    requests = [
        PolicyRequest(
            f"{state}-{number}", "make it brighter", frames[2 * state], frames[2 * state + 1], (), number
        )
        for state in range(STATES)
        for number in range(PROPOSALS)
    ]

    def apart() -> list[str]:
        rows: Any = [policy.encode(request) for request in requests]
        return policy._generate(rows, [request.seed for request in requests])

    ways = {"shared": lambda: list(policy.propose(requests)), "apart": apart}
    took, said = {name: list[float]() for name in ways}, set[tuple[Any, ...]]()
    apart()  # the first call is slower, whichever it is
    for _ in range(rounds):
        for name, call in ways.items():
            began = time.process_time()
            said.add(tuple(call()))
            took[name].append(time.process_time() - began)
    if len(said) > 1:
        raise RuntimeError("with a shared prompt other answers were drawn")
    row: Any = policy.encode(requests[0])
    tokens = row["input_ids"].shape[1]
    return {name: min(values) for name, values in took.items()} | {"tokens": tokens}


def make_noise(seed: int) -> Image.Image:
    """An image that no other is like."""
    return Image.frombytes("RGB", (SIDE, SIDE), random.Random(seed).randbytes(3 * SIDE * SIDE))


def proposals_shared_prompt(bench: Bench) -> Figure:
    found = in_child(
        "call",
        variables=_ONE_THREAD,
        function=f"{__name__}:propose_in_turns",
        folder=str(bench.folder / "proposals"),
        rounds=bench.size(4, 1),
    )
    return reported(
        "proposals_shared_prompt_cpu",
        found["shared"] / found["apart"],
        "x",
        f"{PROPOSALS} proposals at each of {STATES} states, a prompt of {found['tokens']} tokens with two "
        f"{SIDE}² images and up to {TOKENS} tokens of answer, a tiny Qwen2.5-VL with random weights on one "
        f"thread: CPU of the policy's call, {found['shared']:.2f} s, over that of the same requests each "
        f"encoded and run for itself, {found['apart']:.2f} s, in turns, the best of each; the answers are "
        "the same.",
    )


FIGURES = (proposals_shared_prompt,)
