"""What every served model is sent, and what becomes of a good answer, over a real socket."""

from __future__ import annotations

import pytest
from PIL import Image, ImageOps

from mira_batch.core.identity import frame_of
from mira_batch.core.ports import ServedEditor, ServedJudge, ServedPolicy
from mira_batch.models.remote.gemini_images import GeminiImages
from mira_batch.models.remote.openai_images import OpenAIImages
from mira_batch.models.remote.openai_judge import OpenAIJudge
from mira_batch.models.remote.openai_policy import OpenAIPolicy
from mira_batch.models.remote.pictures import fit_to
from tests.contract.served_models import (
    CHATS,
    GEMINI_IMAGES,
    IMAGE,
    JUDGE_SERVED,
    OPENAI_IMAGES,
    OTHER,
    POLICY_SERVED,
    SECRET,
    STEP,
    Served,
    asks,
    config_of,
    edits,
    every_editor,
    every_model,
    once,
    patiently,
    picture,
    run,
    same,
)
from tests.support.servers.models import Answer, Asked, ModelServer, chat_json, edit_json, gemini_json, png

pytestmark = pytest.mark.usefixtures("clean_environment")


def test_they_are_what_the_ports_ask_for(server: ModelServer) -> None:
    async def main() -> None:
        policy: ServedPolicy = OpenAIPolicy(config_of(POLICY_SERVED, server))
        editors: list[ServedEditor] = [
            OpenAIImages(config_of(OPENAI_IMAGES, server, quality="low", input_fidelity="high")),
            GeminiImages(config_of(GEMINI_IMAGES, server)),
        ]
        judge: ServedJudge = OpenAIJudge(config_of(JUDGE_SERVED, server))
        strict = OpenAIJudge(config_of(JUDGE_SERVED, server, prompt={"guidance": "Look at the hands."}))
        assert judge.identity.startswith("openai tiny mira-judge-form/1 ")
        assert judge.identity.endswith(" temperature=0 top_p=1 max_tokens=512")
        assert strict.identity != judge.identity
        prompted = OpenAIPolicy(config_of(POLICY_SERVED, server, prompt={"guidance": "No hats."}))
        bare = OpenAIPolicy(config_of(POLICY_SERVED, server, sampling={"temperature": None, "top_p": None}))
        short = OpenAIPolicy(config_of(POLICY_SERVED, server, prompt={"form": "short"}))
        assert short.identity.startswith("openai tiny mira-short/1 ")
        assert policy.identity.startswith("openai tiny mira-prompt/")
        assert policy.identity.endswith(" temperature=0 top_p=1 max_tokens=512")
        assert bare.identity.endswith(" temperature=default top_p=default max_tokens=512")
        assert prompted.identity != policy.identity
        assert [editor.identity for editor in editors] == [
            "openai-images tiny quality=low input_fidelity=high",
            "gemini-images tiny",
        ]
        for model in (policy, prompted, bare, short, judge, strict, *editors):
            await model.close()

    run(main())


# What is sent, and what comes back


@every_model
def test_the_answer_its_price_and_the_key(served: Served, server: ModelServer) -> None:
    answer = once(served, server)
    if served is POLICY_SERVED:
        assert answer.value == "<edit>invert the colors</edit>"
    elif served is JUDGE_SERVED:
        assert (answer.value.score, answer.value.reason) == (0.2, "it isn't inverted")
    else:
        assert same(answer.value, ImageOps.invert(IMAGE.pixels))
    assert answer.cost == pytest.approx(served.cost)
    (asked,) = server.asked
    assert (asked.model, asked.key) == ("tiny", SECRET)
    assert same(asked.images[0], IMAGE.pixels)


@every_model
def test_no_usage_costs_what_the_call_does(served: Served, server: ModelServer) -> None:
    whole = {"openai": chat_json, "openai_images": edit_json, "gemini_images": gemini_json}[served.type]

    def script(asked: Asked) -> Answer:
        body = whole('{"score": 1}' if served in CHATS else IMAGE.pixels)
        return Answer({name: value for name, value in body.items() if not name.startswith("usage")})

    server.script = script
    assert once(served, server).cost == (0.5 if served in CHATS else 0.75)


def test_a_policy_is_shown_both_images_the_history_and_the_problem(server: ModelServer) -> None:
    request = asks(current=OTHER, history=(STEP,), attempt=1, problem="it was empty")
    answer = once(POLICY_SERVED, server, request, prompt={"guidance": "Keep the brand's colours."})
    assert answer.value == "<stop>it is inverted</stop>"
    (asked,) = server.asked
    assert [same(image, frame.pixels) for image, frame in zip(asked.images, (IMAGE, OTHER), strict=True)]
    for part in ("make it shine", "brighten the sky", "it was empty"):
        assert part in asked.text
    assert "Keep the brand's colours." in asked.system and "<edit>" in asked.system


def test_a_policy_that_was_trained_is_told_no_rules(server: ModelServer) -> None:
    request = asks(current=OTHER, history=(STEP,))
    once(POLICY_SERVED, server, request, prompt={"form": "short"})
    (asked,) = server.asked
    assert [same(image, frame.pixels) for image, frame in zip(asked.images, (IMAGE, OTHER), strict=True)]
    assert asked.system == "Name the next edit, or stop."
    assert asked.text == f"<instruction>{request.instruction}</instruction>\nDone: {STEP.instruction}"


def test_a_policy_gets_its_sampling_and_a_seed_that_every_server_takes(server: ModelServer) -> None:
    sampling = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 64}
    once(POLICY_SERVED, server, sampling=sampling)
    assert server.asked[0].body == {**sampling, "seed": 7}


def test_a_policy_sees_large_images_smaller(server: ModelServer) -> None:
    once(POLICY_SERVED, server, asks(picture("RGB", 200, 100), IMAGE), prompt={"max_pixels": 3_136})
    large, small = server.asked[0].images
    assert (large.mode, large.size) == ("RGB", (79, 39))
    assert same(small, IMAGE.pixels)


def test_a_policy_sees_white_where_an_image_is_transparent(server: ModelServer) -> None:
    """As the policies in the worker do: servers show it black, or the colour that lies hidden below."""
    glass = frame_of(Image.new("RGBA", (8, 8), (250, 0, 0, 0)))
    half = frame_of(Image.new("RGBA", (8, 8), (0, 0, 0, 128)))
    once(POLICY_SERVED, server, asks(glass, half))
    shown = [(image.mode, image.getpixel((0, 0))) for image in server.asked[0].images]
    assert shown == [("RGB", (255, 255, 255)), ("RGB", (127, 127, 127))]


def test_sampling_that_is_null_is_not_sent(server: ModelServer) -> None:
    """Hosted reasoning models refuse temperature and top_p."""
    once(POLICY_SERVED, server, sampling={"temperature": None, "top_p": 0.9})
    once(POLICY_SERVED, server, sampling={"temperature": None, "top_p": None})
    assert [asked.body for asked in server.asked] == [
        {"top_p": 0.9, "max_tokens": 512, "seed": 7},
        {"max_tokens": 512, "seed": 7},
    ]


@every_editor
def test_an_editor_is_sent_alpha_and_gives_it_back(served: Served, server: ModelServer) -> None:
    server.script = lambda asked: Answer(ImageOps.flip(asked.images[0]))
    frame = picture("RGBA", 5, 9)
    assert same(once(served, server, edits(frame)).value, ImageOps.flip(frame.pixels))
    assert same(server.asked[0].images[0], frame.pixels)
    assert server.asked[0].text == "invert the colors"


def test_editors_are_told_their_settings(server: ModelServer) -> None:
    once(OPENAI_IMAGES, server, quality="low", input_fidelity="high")
    once(OPENAI_IMAGES, server)
    once(GEMINI_IMAGES, server)
    told = [asked.body for asked in server.asked]
    assert told[:2] == [
        {"quality": "low", "input_fidelity": "high", "size": "auto"},
        {"quality": "auto", "size": "auto"},
    ]
    assert told[2]["seed"] == 7 and told[2]["responseModalities"] == ["TEXT", "IMAGE"]


@pytest.mark.parametrize(("mode", "expected"), [("L", "RGB"), ("P", "RGB"), ("LA", "RGBA"), ("1", "RGB")])
def test_other_modes_become_rgb_or_rgba(mode: str, expected: str, server: ModelServer) -> None:
    server.script = lambda asked: Answer(asked.images[0].convert(mode))
    (found,), _ = patiently(OPENAI_IMAGES, server)
    assert found.value.pixels.mode == expected


def test_drafts_of_gemini_are_passed_over(server: ModelServer) -> None:
    body = gemini_json(IMAGE.pixels)
    draft = {"inlineData": {"mimeType": "image/png", "data": png(OTHER.pixels)}, "thought": True}
    body["candidates"][0]["content"]["parts"].append(draft)
    server.script = lambda asked: Answer(body)
    assert same(once(GEMINI_IMAGES, server).value, IMAGE.pixels)


@pytest.mark.parametrize(
    ("answered", "original", "expected"),
    [
        ((10, 8), (10, 8), (10, 8)),
        ((1536, 1024), (1200, 800), (1200, 800)),
        ((1024, 1024), (1000, 990), (1000, 990)),  # the same shape, but for rounding
        ((1536, 1024), (1200, 900), (1200, 800)),  # another: as wide, and less high
        ((1024, 1024), (300, 600), (300, 300)),
    ],
)
def test_a_result_is_brought_back_to_the_original_without_distortion(
    answered: tuple[int, int], original: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fit_to(Image.new("RGBA", answered), Image.new("RGB", original)).size == expected
