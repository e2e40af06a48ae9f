"""From a config to the policy, editor or judge it names, and to the parts of a judge that asks a model.

`max_batch` of the config, where it is set, goes before the model's own: callers take
`config.max_batch or model.max_batch`. Implementations are imported only when they are asked for. Weights are
fetched by a function that the caller brings, since where they are kept is the business of storage/. Copies,
batches and calls are the business of `loader.py` and serving/; what can be checked of a config without
loading anything, of `checks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mira_batch.config.models import (
    CustomConfig,
    EditorConfig,
    FidelityJudgeConfig,
    PassthroughPolicyConfig,
    PillowEditorConfig,
    PlainJudgeConfig,
    PolicyConfig,
    RulesJudgeConfig,
    RulesPolicyConfig,
)
from mira_batch.config.models.judges import (
    BackendConfig,
    EditScoreConfig,
    GeminiBackendConfig,
    ImgEditConfig,
    JudgeSamplingConfig,
    OpenAIBackendConfig,
    QwenVLBackendConfig,
    ScoreLogitConfig,
    VIEScoreConfig,
)
from mira_batch.config.models.local import DiffusersConfig, QwenVLConfig, VllmConfig
from mira_batch.config.models.served import (
    GeminiImagesConfig,
    OpenAIImagesConfig,
    OpenAIJudgeConfig,
    OpenAIPolicyConfig,
)
from mira_batch.config.models.simulated import (
    SimulatedEditorConfig,
    SimulatedJudgeConfig,
    SimulatedPolicyConfig,
)
from mira_batch.core.errors import ConfigError
from mira_batch.core.ports import (
    Editor,
    Judge,
    Judgement,
    JudgeRequest,
    Policy,
    ServedEditor,
    ServedJudge,
    ServedPolicy,
)
from mira_batch.core.questions import ServedVisionLanguageModel, VisionLanguageModel
from mira_batch.core.types import Weights
from mira_batch.models.custom import build_custom
from mira_batch.models.judges import EditScore, ImgEdit, JudgeProtocol, ScoreLogit, VIEScore
from mira_batch.models.serving import EDITOR, JUDGE, POLICY
from mira_batch.models.sharing import Copies

Fetch = Callable[[str], Weights]
"""From where weights are kept (`weights` of a config) to their files on this node. It blocks."""


def no_weights(location: str) -> Weights:
    """A `Fetch` for models that have no weights.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(f"weights: {location}: nothing that fetches weights was given")


def build_model(
    role: str,
    config: Any,
    fetch: Fetch = no_weights,
    device: str = "auto",
    copies: Copies | None = None,
) -> Any:
    """Load one copy of the model that a role's config names.

    Args:
        role: policy, editor or judge.
        config: one of the role's configs in `config/models`.
        fetch: brings its weights to this node.
        device: auto, cpu or cuda:N; models that torch doesn't run pass over it.
        copies: what other models of the process have loaded, for a policy that may share it.

    Returns:
        What the role's Protocol asks for; for an endpoint's config the served one.

    Raises:
        ConfigError: as the role's own function below.
    """
    match role:
        case POLICY.name:
            return build_policy(config, fetch, device, copies)
        case EDITOR.name:
            return build_editor(config, fetch, device)
        case JUDGE.name:
            return build_judge(config, fetch, device)
    raise ValueError(f"{role!r} is no role of a model")


def build_policy(
    config: PolicyConfig, fetch: Fetch = no_weights, device: str = "auto", copies: Copies | None = None
) -> Policy | ServedPolicy:
    """Load the policy onto a device: auto, cpu or cuda:N.

    Args:
        config: which policy.
        fetch: brings weights to this node.
        device: auto, cpu or cuda:N; of no concern to a model without weights.
        copies: what other models of the process have loaded.

    Raises:
        ConfigError: its weights can't be found or don't fit, a package is missing, or a custom factory
            can't be imported, raises, or returns no policy.
    """
    match config:
        case RulesPolicyConfig():
            from mira_batch.models.embedded import RulesPolicy

            return RulesPolicy()
        case PassthroughPolicyConfig():
            from mira_batch.models.embedded import PassthroughPolicy

            return PassthroughPolicy()
        case QwenVLConfig():
            from mira_batch.models.qwen import QwenVLPolicy

            adapter = fetch(config.adapter.place) if config.adapter else None
            return QwenVLPolicy(config, fetch(config.weights), device, adapter, copies)
        case VllmConfig():
            from mira_batch.models.qwen import VllmPolicy

            return VllmPolicy(config, fetch(config.weights), device)
        case OpenAIPolicyConfig():
            from mira_batch.models.remote import OpenAIPolicy

            return OpenAIPolicy(config)
        case SimulatedPolicyConfig():
            from mira_batch.models.simulated import SimulatedPolicy

            return SimulatedPolicy(config)
        case CustomConfig():
            return build_custom(config, POLICY)


def build_editor(
    config: EditorConfig, fetch: Fetch = no_weights, device: str = "auto"
) -> Editor | ServedEditor:
    """Load the editor onto a device: auto, cpu or cuda:N.

    Args:
        config: which editor.
        fetch: brings weights to this node.
        device: auto, cpu or cuda:N; of no concern to a model without weights.

    Raises:
        ConfigError: its weights can't be found or don't fit, a package is missing, or a custom factory
            can't be imported, raises, or returns no editor.
    """
    match config:
        case PillowEditorConfig():
            from mira_batch.models.embedded import PillowEditor

            return PillowEditor()
        case DiffusersConfig():
            from mira_batch.models.diffusion import DiffusersEditor

            loras = [fetch(lora.weights) for lora in config.loras]
            return DiffusersEditor(config, fetch(config.weights), device, loras)
        case OpenAIImagesConfig():
            from mira_batch.models.remote import OpenAIImages

            return OpenAIImages(config)
        case GeminiImagesConfig():
            from mira_batch.models.remote import GeminiImages

            return GeminiImages(config)
        case SimulatedEditorConfig():
            from mira_batch.models.simulated import SimulatedEditor

            return SimulatedEditor(config)
        case CustomConfig():
            return build_custom(config, EDITOR)


def build_judge(
    config: PlainJudgeConfig, fetch: Fetch = no_weights, device: str = "auto"
) -> Judge | ServedJudge:
    """Load a judge that is one model onto a device: auto, cpu or cuda:N. One that asks a model by a protocol
    has that model built by `build_backend`, and is put together by `loader.py`, as panels are.

    Args:
        config: which judge.
        fetch: brings weights to this node.
        device: auto, cpu or cuda:N; of no concern to a model without weights.

    Raises:
        ConfigError: its weights can't be found or don't fit, a package is missing, or a custom factory
            can't be imported, raises, or returns no judge.
    """
    match config:
        case RulesJudgeConfig():
            from mira_batch.models.embedded import RulesJudge

            return RulesJudge()
        case FidelityJudgeConfig():
            from mira_batch.models.embedded import FidelityJudge

            return FidelityJudge(config)
        case OpenAIJudgeConfig():
            from mira_batch.models.remote import OpenAIJudge

            return OpenAIJudge(config)
        case SimulatedJudgeConfig():
            from mira_batch.models.simulated import SimulatedJudge

            return SimulatedJudge(config)
        case CustomConfig():
            return build_custom(config, JUDGE)


def build_backend(
    config: BackendConfig,
    field: str,
    sampling: JudgeSamplingConfig,
    choices: Sequence[str] = (),
    fetch: Fetch = no_weights,
    device: str = "auto",
    copies: Copies | None = None,
) -> VisionLanguageModel | ServedVisionLanguageModel:
    """Load the model that a judge asks onto a device: auto, cpu or cuda:N.

    Args:
        config: which model.
        field: where the job's config has it, for errors.
        sampling: how answers are drawn, where its config doesn't say.
        choices: texts that it will be asked the probability of.
        fetch: brings weights to this node.
        device: of no concern to an endpoint.
        copies: what other models of the process have loaded.

    Raises:
        ConfigError: its weights can't be found or don't fit, or a package or key is missing.
    """
    sampling = config.sampling or sampling
    match config:
        case QwenVLBackendConfig():
            from mira_batch.models.qwen import QwenVLBackend

            adapter = fetch(config.adapter.weights) if config.adapter else None
            files = fetch(config.weights)
            return QwenVLBackend(config, files, device, adapter, field, sampling, choices, copies)
        case OpenAIBackendConfig():
            from mira_batch.models.remote import OpenAIBackend

            return OpenAIBackend(config, field, sampling)
        case GeminiBackendConfig():
            from mira_batch.models.remote import GeminiBackend

            return GeminiBackend(config, field, sampling)


def build_protocol(
    config: VIEScoreConfig | EditScoreConfig | ScoreLogitConfig | ImgEditConfig, field: str
) -> JudgeProtocol[JudgeRequest, Judgement]:
    """The protocol by which a judge asks its model.

    Args:
        config: which judge.
        field: where the job's config has it, for errors.

    Raises:
        ConfigError: the user's file of prompts can't be used.
    """
    match config:
        case VIEScoreConfig():
            return VIEScore(config, field)
        case EditScoreConfig():
            return EditScore(config, field)
        case ScoreLogitConfig():
            return ScoreLogit(config, field)
        case ImgEditConfig():
            return ImgEdit(config, field)
