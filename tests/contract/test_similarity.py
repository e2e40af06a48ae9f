"""CLIP and DINO of the real classes: what they see of an image, and how alike things are to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mira_batch.core.errors import ConfigError, UserError
from mira_batch.models.similarity import Clip, Dino, crop_middle
from tests.support.models.similarity import SIDE, write_clip, write_dino
from tests.support.models.tiny import noise

IMAGES = [noise(48, 40, seed).pixels for seed in range(20)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return Clip(str(write_clip(tmp_path_factory.mktemp("clip"))), "cpu")


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Dino:
    return Dino(str(write_dino(tmp_path_factory.mktemp("dino"))), "cpu")


@pytest.mark.parametrize("size", [(48, 40), (40, 48), (33, 32), (64, 200), (32, 32)])
@pytest.mark.parametrize("resize", [32, 36])
def test_an_image_is_brought_to_size_as_the_owners_scripts_do_it(size: tuple[int, int], resize: int) -> None:
    from mira_batch.models.torch_support import prepare

    prepare()
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    image = noise(*size, seed=1).pixels
    expected = CenterCrop(32)(Resize(resize, interpolation=InterpolationMode.BICUBIC)(image))
    assert crop_middle(image, resize, 32).tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", ["clip", "dino"])
def test_a_batch_sees_what_each_image_alone_shows(kind: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(kind)
    together = model.embed_images(IMAGES)
    assert together.shape[0] == len(IMAGES) and np.linalg.norm(together, axis=1) == pytest.approx(1.0)
    alone = np.concatenate([model.embed_images([image]) for image in IMAGES[:3]])
    assert together[:3] == pytest.approx(alone, abs=1e-5)
    likeness = together @ together.T
    others = likeness[~np.eye(len(IMAGES), dtype=bool)]
    assert np.diag(likeness) == pytest.approx(1.0, abs=1e-5) and others.max() < 0.999


def test_clip_is_what_transformers_makes_of_its_own_preprocessing(clip: Clip) -> None:
    import torch
    from transformers import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SIDE)
    pixels = processor(images=[IMAGES[0]], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        found = clip._model.get_image_features(pixel_values=pixels).pooler_output.numpy()
    assert clip.embed_images(IMAGES[:1]) == pytest.approx(found / np.linalg.norm(found), abs=1e-4)


def test_dino_is_the_class_token(dino: Dino) -> None:
    import torch

    image = crop_middle(IMAGES[0], SIDE * 256 // 224, SIDE)
    values = (np.asarray(image) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    pixels = torch.tensor(values.transpose(2, 0, 1)[None], dtype=torch.float32)
    with torch.inference_mode():
        found = dino._model(pixel_values=pixels).last_hidden_state[:, 0].numpy()
    assert dino.embed_images(IMAGES[:1]) == pytest.approx(found / np.linalg.norm(found), abs=1e-5)


def test_a_text_has_a_direction_and_a_longer_one_than_is_read_is_refused(clip: Clip) -> None:
    texts = clip.embed_texts(["a red mug", "a dog", "A red  mug"])
    assert texts.shape == (3, 8) and np.linalg.norm(texts, axis=1) == pytest.approx(1.0)
    assert texts[0] == pytest.approx(texts[2], abs=1e-6) and float(texts[0] @ texts[1]) < 0.999
    with pytest.raises(UserError, match=r"has \d+ tokens; this CLIP reads 24: shorten it"):
        clip.embed_texts(["a", "a mug that is longer than any caption may be"])


def test_transparency_is_left_out(clip: Clip) -> None:
    shown = IMAGES[0].convert("RGBA")
    shown.putalpha(Image.new("L", shown.size, 7))
    assert clip.embed_images([shown]) == pytest.approx(clip.embed_images(IMAGES[:1]))


def test_weights_that_are_none_or_not_whole_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = write_clip(tmp_path / "clip") / "model.safetensors"
    weights = load_file(file)
    del weights["visual_projection.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks weights of a CLIPModel, visual_projection\.weight among"):
        Clip(str(tmp_path / "clip"), "cpu")
    with pytest.raises(ConfigError, match="no ViTModel can be loaded from"):
        Dino(str(tmp_path), "cpu")
