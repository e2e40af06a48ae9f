"""The models of one process: loaded from their configs once, each behind its client.

Owns copies and devices, which client a model gets, and that weights which several of them want are loaded
once. What a config names is built by `registry.py`; how requests reach a model is the business of `serving/`.
It knows no job: a job says which models it has, and how long their calls may take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from mira_batch.config.models import FidelityJudgeConfig, JudgeConfig, PanelConfig, RulesJudgeConfig
from mira_batch.config.models.base import BatchedConfig, ModelConfig
from mira_batch.config.models.judges import PairwiseConfig, ProtocolConfig
from mira_batch.config.models.local import TorchConfig
from mira_batch.config.models.served import ServedConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.pairs import PairRequest, Preference
from mira_batch.core.pixels import MOST_PIXELS
from mira_batch.core.questions import Answer
from mira_batch.core.source_type import GENERATIVE
from mira_batch.models.clients import ModelClients
from mira_batch.models.judges import (
    AgainstOriginal,
    BothOrders,
    ByScores,
    Escalation,
    JudgeProtocol,
    Pairwise,
    Panel,
    PanelRules,
    ProtocolJudge,
)
from mira_batch.models.registry import Fetch, build_backend, build_model, build_protocol, no_weights
from mira_batch.models.serving import (
    EDITOR,
    JUDGE,
    POLICY,
    ROLES,
    CallsInProgress,
    Endpoint,
    MicroBatcher,
    ModelClient,
    Role,
    Turns,
    check_frame,
    guard_images,
)
from mira_batch.models.sharing import Loaded

ModelSpec = tuple[ModelConfig, float | None]
"""A model of a job: its config, and the seconds that a call may take (None: any time)."""


def _take_answer(answer: Answer) -> Answer:
    return answer


_ASKED = replace(JUDGE, method="answer", check=_take_answer)
"""The role of the model that a judge asks: its answers are read by the judge's protocol."""


async def load_models(
    specs: Mapping[str, ModelSpec],
    fetch: Fetch = no_weights,
    max_pixels: int = MOST_PIXELS,
    log_tokens: bool = False,
) -> ModelClients:
    """Build every copy of every model and start its thread. It takes as long as loading takes, and blocks.

    Args:
        specs: the models of a job by role name, in the order in which they are to be loaded.
        fetch: brings weights to this node; called once for each location.
        max_pixels: the most that an editor's image may have.
        log_tokens: whether the policy is to tell the tokens of its answers.

    Returns:
        Their clients, which belong to the running event loop.

    Raises:
        ConfigError: a model can't be built as configured.
    """
    loading = _Loading(cache(fetch), max_pixels, log_tokens)
    models = {
        name: loading.build(ROLES[name], config, limit_seconds, ROLES[name].field)
        for name, (config, limit_seconds) in specs.items()
    }
    clients = {name: model.open() for name, model in models.items()}
    identities = {name: models[name].identity if name in models else None for name in ROLES}
    editor = models[EDITOR.name].first if EDITOR.name in models else None
    source_type = getattr(editor, "source_type", GENERATIVE) or ""
    policy = models[POLICY.name].first if POLICY.name in models else None
    prompt_version = getattr(policy, "prompt_version", None)
    restore = getattr(editor, "restore", None)
    return ModelClients(clients, identities, restore, source_type, prompt_version, loading.together)


def load_comparer(
    config: PairwiseConfig, limit_seconds: float | None = None, fetch: Fetch = no_weights
) -> tuple[ModelClient[PairRequest, Preference], str]:
    """Load the judge that says which of two results is better, in the order in which it is shown them.

    Args:
        config: which judge.
        limit_seconds: how long a call may take; None: any time.
        fetch: brings weights to this node.

    Returns:
        Its client, which belongs to the running event loop, and its identity.

    Raises:
        ConfigError: it can't be built as configured.
    """
    model = _Loading(cache(fetch), MOST_PIXELS).build_comparer(config, limit_seconds, ROLES[JUDGE.name].field)
    return model.open(), model.identity


def load_pair_judge(
    config: JudgeConfig, limit_seconds: float | None = None, fetch: Fetch = no_weights
) -> ModelClients:
    """Load the judge that says of two results which is better: a model that looks at both, in both orders; or
    the embedded judges, by the scores of each.

    Args:
        config: which judge: pairwise, rules or fidelity.
        limit_seconds: how long a call may take; None: any time.
        fetch: brings weights to this node.

    Returns:
        Its client as `judge`, of `PairRequest` and `Judgement`; see `models/judges/comparing.py`.

    Raises:
        ConfigError: it can't be built as configured, or is another judge.
    """
    loading = _Loading(cache(fetch), MOST_PIXELS)
    model = loading.build_pair_judge(config, limit_seconds, "judge")
    clients, identities = {JUDGE.name: model.open()}, {JUDGE.name: model.identity}
    return ModelClients(clients, identities, requests_together=loading.together)


def list_copies(config: ModelConfig) -> list[str]:
    """The device of each copy of a model: `replicas` on each of `devices`."""
    devices = config.devices if isinstance(config, TorchConfig) else ("auto",)
    replicas = config.replicas if isinstance(config, BatchedConfig) else 1
    return [device for device in devices for _ in range(replicas)]


@dataclass(frozen=True, slots=True)
class _Built:
    """A model whose copies are loaded, and which serves nobody yet."""

    identity: str
    open: Callable[[], ModelClient[Any, Any]]
    """Starts its threads."""
    first: Any = None
    """One of its copies, where it is one model."""


class _Loading:
    """Builds the models of one process."""

    def __init__(self, fetch: Fetch, max_pixels: int, log_tokens: bool = False) -> None:
        self._fetch = fetch
        self._max_pixels = max_pixels
        self._log_tokens = log_tokens
        self._in_progress = CallsInProgress()
        self._loaded = Loaded()
        """What all of them have loaded. It is let go of with this object, but for what they hold."""
        self.together = 0
        """The most requests that calls of the clients opened so far take at the same time."""

    def build(self, role: Role, config: Any, limit: float | None, field: str) -> _Built:
        """Load all that a role's config names: one model in copies, or a judge made of models."""
        match config:
            case PanelConfig():
                return self._build_panel(role, config, limit, field)
            case PairwiseConfig():
                comparer = self.build_comparer(config, limit, field)
                identity = f"{comparer.identity} against=original"
                return _Built(identity, lambda: AgainstOriginal(BothOrders(comparer.open())))
            case ProtocolConfig():
                protocol: Any = build_protocol(config, field)  # pyright: ignore[reportArgumentType]
                return self._build_protocol(protocol, config, limit, field)
        loaded = self._loaded.for_model()
        copies = [
            build_model(role.name, config, self._fetch, device, loaded) for device in list_copies(config)
        ]
        if role is POLICY and self._log_tokens:
            for copy in copies:
                _ask_for_tokens(copy, config.type)
        return self._serve(role, copies, config, limit)

    def build_comparer(self, config: PairwiseConfig, limit: float | None, field: str) -> _Built:
        return self._build_protocol(Pairwise(config), config, limit, field)

    def build_pair_judge(self, config: JudgeConfig, limit: float | None, field: str) -> _Built:
        match config:
            case PairwiseConfig():
                comparer = self.build_comparer(config, limit, field)
                return _Built(f"{comparer.identity} orders=2", lambda: BothOrders(comparer.open()))
            case RulesJudgeConfig() | FidelityJudgeConfig():
                judge = self.build(JUDGE, config, limit, field)
                return _Built(f"{judge.identity} by=scores", lambda: ByScores(judge.open()))
        raise ConfigError(f"{field}: a judge {config.type} compares no pairs")

    def _build_protocol(
        self, protocol: JudgeProtocol[Any, Any], config: ProtocolConfig, limit: float | None, field: str
    ) -> _Built:
        backend, place, loaded = config.backend, f"{field}.backend", self._loaded.for_model()
        copies = [
            build_backend(backend, place, protocol.sampling, protocol.choices, self._fetch, device, loaded)
            for device in list_copies(backend)
        ]
        model = self._serve(_ASKED, copies, backend, limit)
        return _Built(f"{protocol.name} by {model.identity}", lambda: ProtocolJudge(protocol, model.open()))

    def _build_panel(self, role: Role, config: PanelConfig, limit: float | None, field: str) -> _Built:
        models = {
            member.name: self.build(role, member.model, limit, f"{field}.members.{index}.model")
            for index, member in enumerate(config.members)
        }
        rules = PanelRules(
            {name: model.identity for name, model in models.items()},
            config.combine,
            {member.name: member.reliability for member in config.members},
            config.quorum,
            None if (when := config.escalate) is None else Escalation(when.entropy_above, when.score_between),
        )
        return _Built(
            rules.identity, lambda: Panel(rules, {name: model.open() for name, model in models.items()})
        )

    def _serve(self, role: Role, copies: Sequence[Any], config: ModelConfig, limit: float | None) -> _Built:
        """Put loaded copies of one model behind its client."""

        def start() -> ModelClient[Any, Any]:
            self.together += _count_together(copies, config)
            return _open_client(role, copies, config, limit, self._in_progress, self._max_pixels)

        return _Built(copies[0].identity, start, copies[0])


def _count_together(copies: Sequence[Any], config: ModelConfig) -> int:
    """The most requests that calls of a model take at the same time."""
    if isinstance(config, ServedConfig):
        return config.concurrency
    assert isinstance(config, BatchedConfig)
    return len(copies) * (config.max_batch or copies[0].max_batch)


def _ask_for_tokens(policy: Any, kind: str) -> None:
    if not hasattr(policy, "log_tokens"):
        raise ConfigError(
            f"output.tokens: this policy of type {kind} can't tell the tokens of its answers: it has no "
            "log_tokens (see mira_batch.core.ports.Policy); leave it out"
        )
    policy.log_tokens = True


def _open_client(
    role: Role,
    models: Sequence[Any],
    config: ModelConfig,
    limit_seconds: float | None,
    in_progress: CallsInProgress,
    max_pixels: int,
) -> ModelClient[Any, Any]:
    if role is EDITOR:
        role = replace(role, check=partial(check_frame, max_pixels=max_pixels))
    if isinstance(config, ServedConfig):
        (model,) = models
        return Endpoint(role, getattr(model, role.method), config, limit_seconds, model.close)
    assert isinstance(config, BatchedConfig)
    calls = [guard_images(getattr(model, role.method), max_pixels) for model in models]
    max_batch = config.max_batch or models[0].max_batch
    turns = [
        turn if isinstance(turn := getattr(model, "turn", None), Turns) else nullcontext() for model in models
    ]
    return MicroBatcher(role, calls, models[0].bucket, max_batch, limit_seconds, in_progress, turns)
