"""EditScore (VectorSpaceLab/EditScore): VIEScore's questions with reasons first and scores of 0 to 25, over
several passes.

    of pass i, drawn with seed + i:  SC = min(prompt following, consistency) / 2.5
                                     PQ = min(naturalness, artifacts) / 2.5
    average_last:   overall = mean of sqrt(SC * PQ)
    average_first:  overall = sqrt(mean of SC * mean of PQ)

Where the same is asked again its passes are drawn with the seeds that follow.

The original has two readings of average_first: `batch_evaluate` as here, and `evaluate` with prompt following
in the place of SC, by which over-editing costs nothing. Its batches show PQ both images, and give 12.5 to
what they can't read; here PQ sees the edited image alone, as in `evaluate`, and the judging fails.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from mira_batch.config.models.judges import EditScoreConfig, JudgeSamplingConfig
from mira_batch.core.ports import Axis, Judgement, JudgeRequest
from mira_batch.core.prompt import Prompt
from mira_batch.core.questions import Answer, Question
from mira_batch.core.types import Frame
from mira_batch.models.judges.protocol import name_prompts, show_candidate
from mira_batch.models.judges.reading import read_scores
from mira_batch.models.judges.viescore import PQ_NAMES, load_texts

HIGHEST = 25
"""Of a score as the model gives it."""
SC_NAMES = ("prompt_following", "consistency")
_SCALE = 2.5
"""From those to scores of 0 to 10."""


class EditScore:
    """A `JudgeProtocol`; see the module's docstring."""

    choices = ()
    sampling = JudgeSamplingConfig(temperature=0.7, top_p=0.9, top_k=20, max_tokens=512)

    def __init__(self, config: EditScoreConfig, field: str) -> None:
        """
        Args:
            config: prompts, passes, averaging and resize rule.
            field: where the job's config has it, for errors.

        Raises:
            ConfigError: the file of prompts can't be used.
        """
        self._config = config
        texts = load_texts(config.prompts, f"{field}.prompts", reasoning_first=True)
        self._texts = texts.rescale(HIGHEST)
        self.name = (
            f"{name_prompts('editscore', texts.digest)} passes={config.passes} seed={config.seed} "
            f"{config.averaging} image_labels={str(config.image_labels).lower()} resize={config.resize}"
        )

    def ask(self, request: JudgeRequest) -> Sequence[Question]:
        """Two questions a pass: of both images, and of the edited one."""
        candidate = show_candidate(request, self._config.resize)
        edit = (*self._show(request.original, candidate), self._texts.write_sc(request.instruction))
        image = (*self._show(candidate), self._texts.write_pq())
        first = self._config.seed + request.draw * self._config.passes  # of another draw, those that follow
        return [
            Question(Prompt("", parts), first + index)
            for index in range(self._config.passes)
            for parts in (edit, image)
        ]

    def _show(self, *frames: Frame) -> tuple[str | Frame, ...]:
        """Images before the text, announced as the released weights know it."""
        if not self._config.image_labels:
            return frames
        return tuple(part for number, frame in enumerate(frames, 1) for part in (f"<img{number}>: ", frame))

    def read(self, request: JudgeRequest, answers: Sequence[Answer]) -> Judgement:
        """The mean over all passes, as the config says; one that can't be read fails them all."""
        edits = [read_scores(answer.text, SC_NAMES, HIGHEST) for answer in answers[::2]]
        images = [read_scores(answer.text, PQ_NAMES, HIGHEST) for answer in answers[1::2]]
        semantic = [min(scores) / _SCALE for scores, _ in edits]
        perceptual = [min(scores) / _SCALE for scores, _ in images]
        if self._config.averaging == "average_last":
            overall = fmean(math.sqrt(sc * pq) for sc, pq in zip(semantic, perceptual, strict=True))
        else:
            overall = math.sqrt(fmean(semantic) * fmean(perceptual))
        raw_axes = {
            name: Axis(fmean(scores[place] for scores, _ in passes), 0.0, HIGHEST)
            for names, passes in ((SC_NAMES, edits), (PQ_NAMES, images))
            for place, name in enumerate(names)
        }
        means = {"SC": fmean(semantic), "PQ": fmean(perceptual), "overall": overall}
        axes = raw_axes | {name: Axis(value, 0.0, 10.0) for name, value in means.items()}
        reason = " ".join(filter(None, (edits[0][1], images[0][1])))
        return Judgement(overall / 10, reason, axes, self.name, tuple(answer.text for answer in answers))
