"""What the Qwen-VL policies are asked in the tests, and how they sample."""

from __future__ import annotations

from mira_batch.core.ports import PolicyRequest
from tests.support.models.tiny import a_step, noise

MODELS = ["qwen2.5-vl", "qwen3-vl"]
GREEDY = {"max_tokens": 20}
DRAWN = {"max_tokens": 20, "temperature": 1.0, "top_p": 0.95}


def requests() -> list[PolicyRequest]:
    """One and two images, of many sizes, with short prompts and long."""
    first, second, third = noise(100, 60, 1), noise(40, 90, 2), noise(3, 40, 3)
    glass, pixel = noise(64, 64, 4, "RGBA"), noise(1, 1, 5)
    long = "remove the car, " * 30
    return [
        PolicyRequest("fresh", "make it brighter", first, first, (), 1),
        PolicyRequest("begun", long, first, second, (a_step(0, first, second),), 2),
        PolicyRequest("pixel", "crop", pixel, pixel, (), 3),
        PolicyRequest("glass", "turn it", third, glass, (a_step(0, third, glass, accepted=False),), 4),
        PolicyRequest("again", "turn it", third, third, (), 5, attempt=1, problem="<edit> is empty"),
    ]
