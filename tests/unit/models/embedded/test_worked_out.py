"""What the embedded policy has worked out, its editor takes."""

from __future__ import annotations

from PIL import Image

from mira_batch.core.actions import parse_action
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest, PolicyRequest
from mira_batch.core.types import Edit
from mira_batch.models.embedded import PillowEditor, RulesPolicy
from mira_batch.models.embedded.grammar.parse import parse
from mira_batch.models.embedded.worked_out import WORKED_OUT, WorkedOut

INSTRUCTION = "turn it by 90 degrees, then make it black and white, then add a 3 px red border"
(ROTATE,) = parse("rotate it by 90 degrees")


def image_of(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, "teal")


def test_each_is_handed_out_once() -> None:
    found, image = WorkedOut(), image_of((4, 4))
    found.keep("a", ROTATE, image)
    assert found.take("a", ROTATE) is None, "nobody has said that it takes any"
    found.await_results()
    found.keep("a", ROTATE, image)
    assert found.take("b", ROTATE) is None
    assert found.take("a", ROTATE) is image
    assert found.take("a", ROTATE) is None


def test_the_oldest_go_where_there_are_too_many_pixels() -> None:
    found = WorkedOut(most_pixels=40)
    found.await_results()
    for name in "abc":
        found.keep(name, ROTATE, image_of((4, 4)))
    assert [found.take(name, ROTATE) is None for name in "abc"] == [True, False, False]
    for _ in range(5):  # the same again is counted once
        found.keep("d", ROTATE, image_of((4, 4)))
    found.keep("e", ROTATE, image_of((4, 4)))
    assert found.take("d", ROTATE) is not None and found.take("e", ROTATE) is not None
    found.keep("huge", ROTATE, image_of((10, 10)))
    assert found.take("huge", ROTATE) is None


def run_loop(policy: RulesPolicy, editor: PillowEditor, original: Image.Image) -> tuple[list[str], int]:
    """Digests of all images of a record, and how many of them the policy had worked out."""
    first = current = frame_of(original)
    digests, handed = [first.digest], 0
    while True:
        (answer,) = policy.propose([PolicyRequest("r", INSTRUCTION, first, current, (), seed=0)])
        assert isinstance(answer, str)
        action = parse_action(answer)
        if not isinstance(action, Edit):
            return digests, handed
        (operation,) = parse(action.instruction)
        there = WORKED_OUT.take(current.digest, operation)
        if there is not None:
            WORKED_OUT.keep(current.digest, operation, there)
            handed += 1
        request = EditRequest("r", action.instruction, current, first, seed=0, step=len(digests) - 1)
        (edited,) = editor.apply([request])
        current = frame_of(edited)
        digests.append(current.digest)


def test_the_editor_makes_the_same_images_from_them_as_by_itself() -> None:
    ramp, disc = Image.linear_gradient("L"), Image.radial_gradient("L")
    policy, original = RulesPolicy(), Image.merge("RGB", (ramp, disc, ramp))
    editor = PillowEditor()
    first, handed = run_loop(policy, editor, original)
    assert handed == 3 and len(first) == 4
    again, handed = run_loop(policy, editor, original)  # the policy remembers, and works nothing out
    assert handed == 0 and again == first
