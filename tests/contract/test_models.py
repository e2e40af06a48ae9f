"""What every policy, editor and judge must do, whoever wrote it. A new one joins by its config.

Records named bad-* have a request that the model can't serve: the simulated and the custom models fail
by the name, the embedded ones by an instruction without meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter

from mira_batch.config.models import EditorConfig, JudgeConfig, PolicyConfig
from mira_batch.core.actions import parse_action
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest, Judgement, JudgeRequest, PolicyRequest
from mira_batch.core.types import Edit, Frame, Step, StopAction
from mira_batch.models.registry import build_editor, build_judge, build_policy
from mira_batch.models.serving.answers import check_judgement

FAULTS = [{"records": "bad-*", "does": "raise"}]
SIMULATED = {"type": "simulated", "faults": FAULTS, "max_batch": 4}
HERE = "tests.contract.custom_models"


def custom(name: str, **options: object) -> dict[str, Any]:
    return {"type": "custom", "factory": f"{HERE}:{name}", "options": options}


POLICIES = [{"type": "rules"}, SIMULATED, custom("make_policy", max_batch=5)]
EDITORS = [{"type": "pillow"}, SIMULATED, custom("make_editor")]
JUDGES = [{"type": "rules"}, SIMULATED, custom("make_judge"), {"type": "fidelity"}]


def gradient(mode: str, width: int, height: int) -> Frame:
    """An image in which no two edits look alike, with some transparency where there is alpha."""
    size = width * height * len(mode)
    return frame_of(Image.frombytes(mode, (width, height), bytes(i * 37 % 256 for i in range(size))))


FRAMES = {
    "rgb": gradient("RGB", 12, 8),
    "rgba": gradient("RGBA", 12, 8),
    "pixel": gradient("RGB", 1, 1),
    "rgba-pixel": gradient("RGBA", 1, 1),
    "tall": gradient("RGB", 3, 40),
}
INSTRUCTION = "rotate it 90 degrees clockwise and invert the colors"
MEANINGLESS = "frobnicate the zebra"


def a_step(index: int, before: Frame, after: Frame) -> Step:
    edit = "rotate the image 90 degrees clockwise"
    return Step(index, "", edit, f"<edit>{edit}</edit>", index, 0, before.digest, after.digest)


def policy_requests() -> list[PolicyRequest]:
    """Fresh records of every form, and one that has a step behind it."""
    fresh = [
        PolicyRequest(f"r-{name}", INSTRUCTION, frame, frame, (), seed)
        for seed, (name, frame) in enumerate(FRAMES.items())
    ]
    before = FRAMES["rgb"]
    after = frame_of(before.pixels.transpose(Image.Transpose.ROTATE_270))
    begun = PolicyRequest("r-begun", INSTRUCTION, before, after, (a_step(0, before, after),), 9)
    again = PolicyRequest("r-again", INSTRUCTION, before, before, (), 9, attempt=1, problem="it was empty")
    return [*fresh, begun, again]


def bad_policy_request() -> PolicyRequest:
    return PolicyRequest("bad-1", MEANINGLESS, FRAMES["rgb"], FRAMES["rgb"], (), 3)


def edit_requests() -> list[EditRequest]:
    return [
        EditRequest(f"r-{name}", "invert the colors of the image", frame, frame, seed, step=0)
        for seed, (name, frame) in enumerate(FRAMES.items())
    ]


def bad_edit_request() -> EditRequest:
    return EditRequest("bad-1", MEANINGLESS, FRAMES["rgb"], FRAMES["rgb"], 3, step=0)


def judge_requests() -> list[JudgeRequest]:
    return [
        JudgeRequest(f"r-{name}", INSTRUCTION, FRAMES["rgb"], frame, "invert the colors")
        for name, frame in FRAMES.items()
    ]


def bad_judge_request() -> JudgeRequest:
    return JudgeRequest("bad-1", MEANINGLESS, FRAMES["rgb"], FRAMES["rgb"], "invert the colors")


@dataclass(frozen=True)
class Role:
    """What the three kinds of model have in common, for the tests that hold for all."""

    build: Callable[[Any], Any]
    method: str
    requests: Callable[[], Sequence[Any]]
    bad: Callable[[], Any]
    comparable: Callable[[Any], Any] = lambda answer: answer


def build(kind: Any, builder: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda settings: builder(TypeAdapter(kind).validate_python(settings))


POLICY = Role(build(PolicyConfig, build_policy), "propose", policy_requests, bad_policy_request)
EDITOR = Role(
    build(EditorConfig, build_editor), "apply", edit_requests, bad_edit_request, lambda i: frame_of(i).digest
)
JUDGE = Role(build(JudgeConfig, build_judge), "score", judge_requests, bad_judge_request)
ALL = [
    pytest.param(role, settings, id=f"{role.method}-{settings['type']}")
    for role, several in [(POLICY, POLICIES), (EDITOR, EDITORS), (JUDGE, JUDGES)]
    for settings in several
]
every_model = pytest.mark.parametrize(("role", "settings"), ALL)
every_model_that_reads = pytest.mark.parametrize(
    ("role", "settings"), [one for one in ALL if one.values[1] != {"type": "fidelity"}]
)
"""Without the judge that takes any instruction, since it looks at none."""
every_policy = pytest.mark.parametrize("settings", POLICIES, ids=lambda settings: settings["type"])
every_editor = pytest.mark.parametrize("settings", EDITORS, ids=lambda settings: settings["type"])
every_judge = pytest.mark.parametrize("settings", JUDGES, ids=lambda settings: settings["type"])


def served(role: Role, model: Any, requests: Sequence[Any]) -> list[Any]:
    """The answers in the order of the requests, by as few calls as buckets and `max_batch` allow."""
    buckets: dict[Hashable, list[int]] = {}
    for index, request in enumerate(requests):
        buckets.setdefault(model.bucket(request), []).append(index)
    answers: dict[int, Any] = {}
    for members in buckets.values():
        for start in range(0, len(members), model.max_batch):
            batch = members[start : start + model.max_batch]
            outcome = getattr(model, role.method)([requests[index] for index in batch])
            assert len(outcome) == len(batch)
            answers |= dict(zip(batch, outcome, strict=True))
    return [answers[index] for index in range(len(requests))]


def singly(role: Role, model: Any, requests: Sequence[Any]) -> list[Any]:
    return [getattr(model, role.method)([request])[0] for request in requests]


# Every model


@every_model
def test_a_model_says_who_it_is_and_how_much_it_takes(role: Role, settings: Any) -> None:
    model, other = role.build(settings), role.build(settings)
    assert isinstance(model.identity, str)
    assert model.identity.strip()
    assert type(model.max_batch) is int
    assert model.max_batch >= 1
    served(role, model, role.requests())
    assert model.identity == other.identity


@every_model
def test_a_batch_answers_as_single_requests_do_and_in_order(role: Role, settings: Any) -> None:
    requests = role.requests()
    together = served(role, role.build(settings), requests)
    alone = singly(role, role.build(settings), requests)
    assert list(map(role.comparable, together)) == list(map(role.comparable, alone))


@every_model
def test_answers_depend_on_the_request_alone(role: Role, settings: Any) -> None:
    model, requests = role.build(settings), role.requests()
    first = list(map(role.comparable, served(role, model, requests)))
    backwards = list(map(role.comparable, served(role, model, requests[::-1])))
    assert backwards[::-1] == first


@every_model
def test_what_a_request_holds_is_never_changed(role: Role, settings: Any) -> None:
    requests = [*role.requests(), role.bad()]
    served(role, role.build(settings), requests)
    for request in requests:
        for name in {"original", "current", "image", "candidate"} & set(request.__slots__):
            frame: Frame = getattr(request, name)
            assert frame_of(frame.pixels).digest == frame.digest


@every_model_that_reads
def test_a_bad_request_fails_alone(role: Role, settings: Any) -> None:
    good = role.requests()
    model = role.build(settings)
    expected = list(map(role.comparable, singly(role, model, good)))
    answers = served(role, model, [good[0], role.bad(), *good[1:]])
    assert isinstance(answers.pop(1), Exception)
    assert list(map(role.comparable, answers)) == expected


@every_model
def test_buckets_are_hashable_and_stay_the_same(role: Role, settings: Any) -> None:
    model = role.build(settings)
    for request in role.requests():
        assert hash(model.bucket(request)) == hash(model.bucket(request))
        assert model.bucket(request) == model.bucket(request)


@every_model
def test_an_empty_batch_has_no_answers(role: Role, settings: Any) -> None:
    assert list(getattr(role.build(settings), role.method)([])) == []


# Policies


@every_policy
def test_a_policy_answers_with_an_edit_or_a_stop(settings: Any) -> None:
    for answer in served(POLICY, POLICY.build(settings), policy_requests()):
        assert isinstance(answer, str)
        assert isinstance(parse_action(answer), Edit | StopAction)


# Editors


@every_editor
def test_an_editor_gives_rgb_or_rgba_images(settings: Any) -> None:
    for image in served(EDITOR, EDITOR.build(settings), edit_requests()):
        assert isinstance(image, Image.Image)
        assert image.mode in ("RGB", "RGBA")
        assert min(image.size) >= 1


@every_editor
def test_an_edit_shows_also_on_a_single_pixel_and_with_transparency(settings: Any) -> None:
    requests = edit_requests()
    for request, image in zip(requests, served(EDITOR, EDITOR.build(settings), requests), strict=True):
        assert frame_of(image).digest != request.image.digest


@every_editor
def test_the_same_seed_gives_the_same_pixels(settings: Any) -> None:
    requests = edit_requests()
    first, second = (served(EDITOR, EDITOR.build(settings), requests) for _ in range(2))
    assert list(map(EDITOR.comparable, first)) == list(map(EDITOR.comparable, second))


# Judges


@every_judge
def test_a_judge_scores_between_0_and_1(settings: Any) -> None:
    for judgement in served(JUDGE, JUDGE.build(settings), judge_requests()):
        assert isinstance(judgement, Judgement)
        assert 0.0 <= judgement.score <= 1.0
        assert check_judgement(judgement) == judgement


@pytest.mark.parametrize(
    ("settings", "protocol", "axis"),
    [
        (JUDGES[0], "rules-judge/1", "edits"),
        (JUDGES[1], "simulated-judge/1", "drawn"),
        (JUDGES[3], "fidelity-judge/1", None),
    ],
    ids=["rules", "simulated", "fidelity"],
)
def test_our_judges_name_their_protocol_and_what_the_score_is_made_of(
    settings: Any, protocol: str, axis: str | None
) -> None:
    for judgement in served(JUDGE, JUDGE.build(settings), judge_requests()):
        assert judgement.protocol == protocol
        assert axis is None or list(judgement.axes) == [axis]
