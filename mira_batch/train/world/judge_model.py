"""A judge that looks: the world's Qwen2.5-VL, taught to say by one digit how far an edit is done.

It is asked by the score-logit judge's own code, and learns the digit of the truth as the first token of its
answer: from images that an editor has drawn, and from the world's own, right ones and such as are wrong in
each way that an editor may find. A judge that has seen too few ways to be wrong is taken in by the others.
Plain torch, on the CPU, in float32.

Shapes: B verdicts of a batch, T tokens of the longest question, D width, V tokens that there are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mira_batch.config.models.judges import ScoreLogitConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import JudgeRequest
from mira_batch.core.types import ErrorKind
from mira_batch.models.judges import ScoreLogit
from mira_batch.models.qwen import batch_windows, collate, encode_prompt
from mira_batch.models.torch_support import prepare
from mira_batch.train.world.descent import Descent
from mira_batch.train.world.editor_pairs import Pair, draw_edit
from mira_batch.train.world.edits import say_edit
from mira_batch.train.world.model import check_vacant, fill_directory, save_base
from mira_batch.train.world.scenes import SMALL, Scene, World, render

if TYPE_CHECKING:
    from torch import Tensor

PROMPT = 'SCORE_LOGIT = "{prompt}"\n'
"""The file that `prompts` of the judge names: the edit alone, since more the world's model has no words
for."""
_BATCH = 32
_RATE = 3e-4
_NOTED = 50
"""Steps between lines of progress."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the truth says of an edited image."""

    request: JudgeRequest
    score: float
    """In [0, 1]."""

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:  # the digit would be another one, counted from the end
            raise ConfigError(f"{self.request.record_id}: a score is in [0, 1]; not {self.score}")


def draw_verdicts(pairs: Iterable[Pair], seed: int, world: World = SMALL) -> list[Verdict]:
    """A verdict on each pair's source and edit: half of the images are right; of the others each shows
    another edit, the right one and another, or nothing new.

    Args:
        pairs: of which sources and edits are taken.
        seed: draws the images.
        world: what they are made of.
    """
    rng = random.Random(f"world-verdicts/1 {seed}")
    found = []
    for pair in pairs:
        right = rng.random() < 0.5
        shown = pair.target if right else _spoil(rng, pair, world)
        original, candidate = (frame_of(render(scene)) for scene in (pair.source, shown))
        said = say_edit(pair.edit)
        request = JudgeRequest("world", said, original, candidate, said)
        found.append(Verdict(request, float(shown == pair.target)))
    return found


def _spoil(rng: random.Random, pair: Pair, world: World) -> Scene:
    """What is not asked for."""
    before = rng.choice([pair.source, pair.target])
    if not any(before.cells) or (before == pair.source and rng.random() < 1 / 3):
        return pair.source
    return draw_edit(rng, before, world).target


def describe_judge(weights: Path, prompts: Path) -> dict[str, Any]:
    """The judge as a job's config names it.

    Args:
        weights: what `teach_judge` wrote.
        prompts: a file with `PROMPT`.
    """
    backend = {"type": "qwen_vl", "weights": str(weights), "dtype": "float32", "devices": ["cpu"]}
    return {"type": "score_logit", "backend": backend | {"max_batch": 64}, "prompts": str(prompts)}


def teach_judge(
    directory: Path,
    base: Path,
    prompts: Path,
    verdicts: Sequence[Verdict],
    seed: int = 0,
    *,
    steps: int,
    note: Callable[[str], None] = lambda text: None,
) -> float:
    """Teach a model to judge, and write it as `save_pretrained` does: the last loss, in nats.

    Args:
        directory: where it goes; it must be new or empty, and appears when it is whole.
        base: the model to begin with, of `pretrain_base`.
        prompts: a file with `PROMPT`.
        verdicts: to learn from.
        seed: of their order.
        steps: of the optimizer.
        note: told how it goes, for people.

    Raises:
        ConfigError: there is something in the directory, or there are no verdicts.
    """
    prepare()
    import torch
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    if not verdicts or steps < 1:
        raise ConfigError(f"a judge takes 1 verdict and 1 step at least; not {len(verdicts)} and {steps}")
    check_vacant(directory)
    processor = AutoProcessor.from_pretrained(base)
    model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(base, dtype=torch.float32).train()
    batch_windows(model)
    asked = _Asked(processor, describe_judge(directory, prompts), verdicts)
    descent = Descent([*model.parameters()], _RATE, steps)
    rng = random.Random(f"world-judge/1 {seed}")
    order: list[int] = []
    while descent.gone < 1:
        if len(order) < _BATCH:
            order += rng.sample(range(len(verdicts)), len(verdicts))
        places, order = order[:_BATCH], order[_BATCH:]
        batch, wanted_B = asked.make(places)
        states_B_T_D = model.model(**batch, use_cache=False).last_hidden_state
        logits_B_V = model.lm_head(states_B_T_D[:, -1])
        descent.descend(torch.nn.functional.cross_entropy(logits_B_V, wanted_B))
        if descent.step % _NOTED == 0:
            note(f"judge: {descent.step:,} steps, {descent.gone:.0%}: loss {descent.loss:.4f}")
    fill_directory(directory, lambda place: save_base(place, model.eval(), processor))
    return descent.loss


class _Asked:
    """Verdicts as the model is asked for them."""

    def __init__(self, processor: Any, judge: dict[str, Any], verdicts: Sequence[Verdict]) -> None:
        protocol = ScoreLogit(ScoreLogitConfig.model_validate(judge), "judge")
        tokenizer = processor.tokenizer
        self._pad = tokenizer.pad_token_id
        digits = [tokenizer.encode(digit, add_special_tokens=False)[0] for digit in protocol.choices]
        self._wanted = [digits[round((len(digits) - 1) * verdict.score)] for verdict in verdicts]
        self._rows: list[Mapping[str, Tensor]] = []
        for verdict in verdicts:
            (question,) = protocol.ask(verdict.request)
            self._rows.append(encode_prompt(processor, question.prompt, ErrorKind.judge_failed))

    def make(self, places: Sequence[int]) -> tuple[dict[str, Tensor], Tensor]:
        """A batch of questions, padded on the left, and the tokens wanted (B,)."""
        import torch

        batch = collate([self._rows[place] for place in places], self._pad)
        return batch, torch.tensor([self._wanted[place] for place in places])
