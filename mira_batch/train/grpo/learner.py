"""The model while it is updated: lessons as batches, their log-probabilities, and steps of the optimiser.

Each worker computes its share of a step's answers. Losses are divided by the counts of the whole step, so
that the workers' gradients add up to those of one.

Shapes: B answers of a batch, T tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mira_batch.config.grpo import GrpoConfig
from mira_batch.core.errors import RecordError, StoreError
from mira_batch.train.encoding import SampleEncoder, add_answer, make_blank
from mira_batch.train.grpo.rollouts import Lesson, Pictures, build_question
from mira_batch.train.losses import PolicyLoss, policy_loss, token_logprobs
from mira_batch.train.measure import forward_answers, hold_still
from mira_batch.train.optimizer import choose_arithmetic, take_step
from mira_batch.train.workers import count_workers, name_rank

if TYPE_CHECKING:
    from torch import Tensor

_REFERENCE = "reference"
_KEPT_BYTES = 2**30
"""Most memory that encoded questions take: of two images of a megapixel each, some twenty."""


class Learner:
    """A model with an adapter that learns."""

    def __init__(
        self, config: GrpoConfig, model: Any, processor: Any, pictures: Pictures, device: Any
    ) -> None:
        """
        Args:
            config: of the training.
            model: from `load_learner`.
            processor: of the model.
            pictures: of the lessons.
            device: where the model is.
        """
        self.model = model
        self._config = config
        self._encoder = SampleEncoder(processor, model, config.prompt)
        self._questions = Questions(_KEPT_BYTES)
        self._pictures = pictures
        self._device = device

    @property
    def weights(self) -> list[Any]:
        """Those that learn, in an order that stays."""
        named = sorted((name, w) for name, w in self.model.named_parameters() if w.requires_grad)
        return [weight for _, weight in named]

    def measure(self, lessons: Sequence[Lesson], blank: bool = False) -> list[list[float]]:
        """Log-probabilities of the tokens of each lesson's answer; nothing is learned.

        Args:
            lessons: which.
            blank: with grey images.
        """
        import torch

        found: list[list[float]] = []
        with hold_still(self.model), torch.no_grad():
            for part in self._cut(lessons):
                logprobs, mask = self._score(part, blank)
                found += [row[kept].tolist() for row, kept in zip(logprobs, mask, strict=True)]
        return found

    @contextmanager
    def as_reference(self, adapter: str | None) -> Iterator[None]:
        """Inside the model is the reference.

        Args:
            adapter: directory of the reference's adapter on this machine; None: it has none.
        """
        if adapter is None:
            with self.model.disable_adapter():
                yield
            return
        self.model.load_adapter(adapter, _REFERENCE, is_trainable=False, local_files_only=True)
        self.model.set_adapter(_REFERENCE)
        try:
            yield
        finally:
            self.model.set_adapter("default")
            self.model.delete_adapter(_REFERENCE)

    def backward(
        self,
        lessons: Sequence[Lesson],
        reference: Sequence[Sequence[float]] | None,
        tokens: int,
        answers: int,
    ) -> list[tuple[PolicyLoss, int]]:
        """Add this worker's gradients of a step.

        Args:
            lessons: its share of the step's.
            reference: log-probabilities of each by the reference, where the loss has a part of it.
            tokens: of the whole step's answers.
            answers: of the whole step.

        Returns:
            The loss of each batch, and its tokens.
        """
        import torch

        loss, found, at = self._config.loss, list[tuple[PolicyLoss, int]](), 0
        for part in self._cut(lessons):
            logprobs, mask = self._score(part)
            told = None if reference is None else reference[at : at + len(part)]
            at += len(part)
            result = policy_loss(
                logprobs,
                _lay(mask, [lesson.logprobs for lesson in part]),
                torch.tensor([lesson.advantage for lesson in part], device=mask.device),
                mask,
                low=loss.clip_low,
                high=loss.clip_high,
                level=loss.level,
                by=loss.normalisation,
                constant=self._config.edit.policy.max_tokens if loss.normalisation == "dr_grpo" else None,
                reference_B_T=None if told is None else _lay(mask, told),
                kl_weight=loss.kl_weight,
                negative_weight=loss.negative_weight,
                tokens=tokens,
                sequences=answers,
            )
            result.loss.backward()
            found.append((result, int(mask.sum())))
        return found

    def step(self, optimizer: Any) -> float:
        """A step of the optimiser, by the gradients of all workers; their norm before it was cut.

        Raises:
            UserError: the gradients are no numbers any more.
        """
        return take_step(optimizer, self.weights, self._config.optimizer.max_grad_norm)

    def share(self, numbers: Sequence[int]) -> list[int]:
        """This worker's part of a step's answers."""
        return [int(number) for number in numbers[name_rank() :: count_workers()]]

    def _cut(self, lessons: Sequence[Lesson]) -> Iterator[Sequence[Lesson]]:
        each = self._config.batch
        return (lessons[start : start + each] for start in range(0, len(lessons), each))

    def _score(self, lessons: Sequence[Lesson], blank: bool = False) -> tuple[Tensor, Tensor]:
        """(B, T) log-probabilities and which count, of the answers' tokens."""
        rows = [self._encode(lesson, blank) for lesson in lessons]
        batch = self._encoder.collate(rows, [lesson.name for lesson in lessons])
        with choose_arithmetic(self._config.precision, self._device):
            logits, labels = forward_answers(self.model, batch)
        return token_logprobs(logits, labels)

    def _encode(self, lesson: Lesson, blank: bool) -> dict[str, Tensor]:
        # All answers of a group are to one question, and each is looked at in every epoch.
        asked = (lesson.instruction, lesson.original, lesson.current, lesson.history)
        key = (*asked, lesson.attempt, lesson.problem, blank)
        return add_answer(self._questions.take(key, lambda: self._ask(lesson, blank)), lesson.tokens)

    def _ask(self, lesson: Lesson, blank: bool) -> Mapping[str, Tensor]:
        original, current = self._pictures.open(lesson.original), self._pictures.open(lesson.current)
        if blank:
            same = current.digest == original.digest
            original, current = make_blank(original, 128), make_blank(current, 128 if same else 127)
        try:
            return self._encoder.encode_question(build_question(lesson, original, current))
        except RecordError as error:
            raise StoreError(f"{lesson.name}: {error}") from error


class Questions:
    """Encoded questions that are asked again, within bounds of memory: those last asked stay."""

    def __init__(self, most: int) -> None:
        """
        Args:
            most: bytes of all that are kept.
        """
        self._most, self._bytes = most, 0
        self._kept: dict[Hashable, Mapping[str, Tensor]] = {}

    def take(self, key: Hashable, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """A question, made if it is not kept; not to be changed.

        Args:
            key: all that is said and shown.
            make: encodes it.
        """
        row = self._kept.pop(key, None)
        if row is None:
            row = make()
            self._bytes += _count_bytes(row)
        self._kept[key] = row  # the last asked is last
        while self._bytes > self._most and len(self._kept) > 1:
            self._bytes -= _count_bytes(self._kept.pop(next(iter(self._kept))))
        return row


def _count_bytes(row: Mapping[str, Tensor]) -> int:
    return sum(value.nbytes for value in row.values())


def _lay(mask_B_T: Tensor, rows: Sequence[Sequence[float]]) -> Tensor:
    """Values of tokens where the mask has them: (B, T), 0 elsewhere."""
    import torch

    flat = torch.tensor([value for row in rows for value in row], dtype=torch.float32, device=mask_B_T.device)
    laid = torch.zeros(mask_B_T.shape, dtype=torch.float32, device=mask_B_T.device)
    laid[mask_B_T] = flat
    return laid
