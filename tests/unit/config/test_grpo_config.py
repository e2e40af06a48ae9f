"""What the config of a training by rollouts refuses, and what it makes of its jobs."""

from __future__ import annotations

from typing import Any

import pytest

from mira_batch.config.grpo import GrpoConfig
from mira_batch.config.load import load_own_config
from mira_batch.config.models import PanelConfig
from mira_batch.core.errors import ConfigError
from tests.support import ROOT

JUDGE = {"type": "custom", "factory": "mira_batch.train.world:make_judge"}


def settings(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "model": {"weights": "/models/qwen"},
        "edit": {"input": {"manifest": "/data/train.parquet"}, "editor": {"type": "pillow"}},
        "rewards": {"judge": JUDGE},
        "output": {"uri": "/out"},
        "backend": "inline",
    }
    return given | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"edit": {"input": {"manifest": "/m", "branches": "/run"}, "editor": {"type": "pillow"}}},
            r"edit\.input\.branches: a training begins from the images",
        ),
        ({"credit": "trajectory", "states": 4}, "states: has no effect with credit: trajectory"),
        ({"credit": "trajectory", "choose": "doubt"}, "choose: has no effect with credit: trajectory"),
        ({"rewards": {}}, r"rewards\.judge: somebody has to score"),
        ({"rewards": {"judge": JUDGE, "weights": {"score": 0}}}, r"rewards\.weights: all are 0"),
        ({"sentinel": {"judge": JUDGE}}, r"sentinel\.judge: is that of the reward"),
        ({"tuning": {"dropout": 0.1}}, r"tuning\.dropout: must be 0"),
        ({"model": {"weights": "/m", "adapter": "/a"}, "tuning": {"r": 4}}, "tuning: has no effect"),
        ({"workers": {"num": 2, "strategy": "fsdp2"}}, r"workers\.strategy"),
        ({"backend": "inline", "workers": {"num": 2}}, r"workers\.num: inline is one worker"),
        ({"rollouts": 1}, "rollouts"),
    ],
)
def test_refusals(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_own_config(GrpoConfig, settings(**changes))


def test_axes_need_the_evaluate_job() -> None:
    edit = settings()["edit"] | {"judge": {"model": JUDGE}}
    with pytest.raises(ConfigError, match=r"rewards\.weights: semantic: the evaluate job tells axes"):
        load_own_config(GrpoConfig, settings(edit=edit, rewards={"weights": {"semantic": 1}}))


def test_rollouts_are_drawn_and_validation_is_greedy() -> None:
    config = load_own_config(GrpoConfig, settings(credit="trajectory"))
    job = config.edit_job(config.edit.input, "/out/x", "/out/adapter")
    sampling = job.policy.sampling  # type: ignore[union-attr]
    assert (sampling.temperature, sampling.top_p, job.rollouts, job.output.tokens) == (1.0, 1.0, 8, True)
    assert job.policy.adapter.weights == "/out/adapter"  # type: ignore[union-attr]
    greedy = config.validation_job(config.edit.input, "/out/v", None)
    assert (job.seed, greedy.seed) == (None, config.seed)  # rollouts differ by adapter, validations compare
    assert (greedy.policy.sampling.temperature, greedy.rollouts) == (0.0, 1)  # type: ignore[union-attr]


def test_the_shipped_config_has_two_judges_and_one_that_watches() -> None:
    config = load_own_config(GrpoConfig, ROOT / "configs/train/qwen2.5-vl-7b-grpo.yaml")
    panel = config.rewards.judge
    assert isinstance(panel, PanelConfig)
    assert [member.model.type for member in panel.members] == ["score_logit", "editscore"]
    reward, sentinel = config.judges()
    assert (reward, sentinel.type) == (panel, "viescore")
    assert config.edit.workers.gpus == config.workers.gpus == 1


def test_a_step_is_credited_by_proposals_from_single_trajectories() -> None:
    config = load_own_config(GrpoConfig, settings(states=5))
    source = config.edit.input.model_copy(update={"branches": "/out/r/run"})
    trunk, proposals = (
        config.edit_job(config.edit.input, "/out/r", None),
        config.proposals_job(source, "/p", None),
    )
    assert (trunk.rollouts, trunk.limits.new_steps, trunk.output.tokens) == (1, None, True)
    assert (proposals.rollouts, proposals.limits.new_steps, proposals.output.tokens) == (8, 1, True)
    limits = proposals.loop_limits(3)
    assert (limits.max_steps, limits.end_after) == (4, 4)
    others = [settings(credit=credit) for credit in ("step", "trajectory")]
    configs = [config, *(load_own_config(GrpoConfig, other) for other in others)]
    assert len({str(each.learning()) for each in configs}) == 3


def test_a_result_that_may_be_an_earlier_image_is_no_reward_of_a_step() -> None:
    edit = settings()["edit"] | {"judge": {"model": JUDGE, "tolerance": 0.1}}
    load_own_config(GrpoConfig, settings(edit=edit, credit="trajectory"))
    with pytest.raises(ConfigError, match=r"edit\.judge\.tolerance: above 0"):
        load_own_config(GrpoConfig, settings(edit=edit))


def test_what_decides_what_is_learned() -> None:
    learning = load_own_config(GrpoConfig, settings()).learning()
    same = load_own_config(GrpoConfig, settings(iterations=7, agreement={"mean": 0.1})).learning()
    assert learning == same
    assert load_own_config(GrpoConfig, settings(epochs=2)).learning() != learning
    assert load_own_config(GrpoConfig, settings(choose="doubt")).learning() != learning
    assert load_own_config(GrpoConfig, settings(loss={"negative_weight": 0.5})).learning() != learning
    assert "choose" not in learning and "negative_weight" not in learning["loss"], "older trainings go on"
    shrinking = settings(optimizer={"schedule": "linear"})
    longer = shrinking | {"iterations": 7}
    assert load_own_config(GrpoConfig, shrinking).learning() != load_own_config(GrpoConfig, longer).learning()
