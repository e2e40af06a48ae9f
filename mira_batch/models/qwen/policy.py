"""A Qwen2.5-VL or Qwen3-VL policy, run by transformers in the worker.

How a batch is run is the business of `model.py`; what it is told is in `core/prompt.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

from mira_batch.config.models.local import QwenVLConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.prompt import Prompt, build_prompt, prompt_version
from mira_batch.core.types import ErrorKind, Weights
from mira_batch.models.qwen.model import MAX_BATCH, QwenVL, Seat
from mira_batch.models.qwen.shared import answer_rows, write_identity
from mira_batch.models.sharing import Copies

if TYPE_CHECKING:
    from torch import Tensor

_SEAT = Seat("policy", "policy.prompt", ErrorKind.policy_failed)


class QwenVLPolicy(QwenVL):
    """Holds the model on one device. Calls may come from any thread; they run one after another."""

    def __init__(
        self,
        config: QwenVLConfig,
        weights: Weights,
        device: str,
        adapter: Weights | None = None,
        copies: Copies | None = None,
    ) -> None:
        """Load the model, unless another has loaded the same.

        Args:
            config: how it runs.
            weights: its files on this node.
            device: where it goes: auto, cpu or cuda:N.
            adapter: the files of `config.adapter`.
            copies: what the process has loaded; None loads for this one alone.

        Raises:
            ConfigError: files are missing or don't fit, the device isn't there or too small, or the first
                call on it fails.
        """
        shown = config.prompt.max_pixels
        super().__init__(config, weights, device, adapter, _SEAT, shown, config.sampling, copies)
        import transformers

        self._config = config
        made_by = f"qwen-vl/1 transformers={transformers.__version__}"
        self.max_batch = config.max_batch or MAX_BATCH
        self.prompt_version = prompt_version(config.prompt.form)
        self.identity = write_identity(made_by, config, weights, adapter, self.prompt_version)
        self.log_tokens = False
        """Whether answers come with their tokens."""
        if self._device.type == "cuda":
            self.warm_up()

    def bucket(self, request: PolicyRequest) -> Hashable:
        """All share a batch: the padding takes care of sizes."""
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        """The model's text for each request, a `CutOff` where it reached the token limit; a `RecordError` for
        one that can't be asked."""
        rows = self._encode_all([self._build_prompt(request) for request in requests])
        return answer_rows(
            rows,
            lambda good, places: self._generate(
                good, [requests[place].seed for place in places], log_tokens=self.log_tokens
            ),
        )

    def warm_up(self) -> None:
        """Make the first call with images as large as they are ever shown.

        Raises:
            ConfigError: it failed; says what to change.
        """
        self._make_first_call(
            lambda first, second: self._build_prompt(PolicyRequest("warm-up", "stop", first, second, (), 0))
        )

    def write_prompt(self, request: PolicyRequest) -> str:
        """The text of a request as the model's own template writes it; an image is one placeholder."""
        return self._apply_template(self._build_prompt(request))

    def encode(self, request: PolicyRequest) -> Mapping[str, Tensor] | RecordError:
        """One request as the model takes it, in a batch of one: its faults are its own."""
        return self._encode(self._build_prompt(request))

    def _build_prompt(self, request: PolicyRequest) -> Prompt:
        shown = self._config.prompt
        return build_prompt(request, shown.guidance, shown.history, shown.form)
