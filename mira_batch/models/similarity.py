"""Images and texts as directions: how alike two of them are to CLIP or to DINO.

Loads CLIP and ViT weights by transformers, from safetensors alone. Images are brought to size as the scripts
that published figures come from do it, whatever the weights' own processor says: the shorter side to so many
pixels (bicubic), then the middle. Leaves what the likenesses mean to others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from mira_batch.core.errors import ConfigError, UserError, describe
from mira_batch.models.torch_support import find_device, prepare

_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of openai/CLIP's own preprocessing."""
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BATCH = 16
"""Images in one pass."""
Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]
"""[n, d], each row of length 1."""


class ImageEmbedder(ABC):
    """What CLIP and DINO have in common."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __init__(self, model: Any, resize: int, crop: int) -> None:
        """
        Args:
            model: on its device.
            resize: pixels of the shorter side.
            crop: pixels of the square that is looked at.
        """
        self._model = model
        self._resize, self._crop = resize, crop

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """The direction of each image.

        Args:
            images: of any size; transparency is left out.

        Returns:
            [n, d] float32, each row of length 1.
        """
        import torch

        found = []
        for start in range(0, len(images), _BATCH):
            pixels = np.stack([self._show(image) for image in images[start : start + _BATCH]])
            with torch.inference_mode():
                found.append(
                    self._encode(torch.from_numpy(pixels).to(self._model.device)).float().cpu().numpy()
                )
        return _normalise(np.concatenate(found))

    @abstractmethod
    def _encode(self, pixels: Any) -> Any:
        """[n, d] of pixels [n, 3, height, width]."""

    def _show(self, image: Image.Image) -> np.ndarray[Any, Any]:
        shown = crop_middle(image.convert("RGB"), self._resize, self._crop)
        values = (np.asarray(shown, np.float32) / 255 - np.array(self.mean, np.float32)) / self.std
        return values.transpose(2, 0, 1).astype(np.float32)


class Clip(ImageEmbedder):
    """CLIP: images and texts in one space."""

    mean, std = _CLIP_MEAN, _CLIP_STD

    def __init__(self, path: str, device: str = "auto") -> None:
        """
        Args:
            path: directory of the weights of a CLIPModel, with its tokenizer.
            device: auto, cpu or cuda:N.

        Raises:
            ConfigError: they can't be loaded.
        """
        prepare()
        from transformers import CLIPModel, CLIPTokenizer

        model = _load(CLIPModel, path, device, use_safetensors=True)
        self._tokenizer = _load_tokenizer(CLIPTokenizer, path)
        size = model.config.vision_config.image_size
        self._longest = model.config.text_config.max_position_embeddings
        super().__init__(model, size, size)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """The direction of each text.

        Returns:
            [n, d] float32, each row of length 1.

        Raises:
            UserError: one is longer than the model reads; nothing is cut off.
        """
        import torch

        rows = self._tokenizer(list(texts)).input_ids
        for text, row in zip(texts, rows, strict=True):
            if len(row) > self._longest:
                raise UserError(
                    f"{text!r:.80} has {len(row)} tokens; this CLIP reads {self._longest}: shorten it"
                )
        found = []
        for row in rows:
            with torch.inference_mode():
                ids = torch.tensor([row], device=self._model.device)
                found.append(_take_pooled(self._model.get_text_features(input_ids=ids)).float().cpu().numpy())
        return _normalise(np.concatenate(found))

    def _encode(self, pixels: Any) -> Any:
        return _take_pooled(self._model.get_image_features(pixel_values=pixels))


class Dino(ImageEmbedder):
    """DINO: the class token of a ViT that was trained without labels."""

    mean, std = _IMAGENET_MEAN, _IMAGENET_STD

    def __init__(self, path: str, device: str = "auto") -> None:
        """
        Args:
            path: directory of the weights of a ViTModel.
            device: auto, cpu or cuda:N.

        Raises:
            ConfigError: they can't be loaded.
        """
        prepare()
        from transformers import ViTModel

        # Its pooling layer is not of DINO's, and not used here.
        model = _load(ViTModel, path, device, use_safetensors=True, add_pooling_layer=False)
        crop = model.config.image_size
        super().__init__(model, crop * 256 // 224, crop)

    def _encode(self, pixels: Any) -> Any:
        return self._model(pixel_values=pixels).last_hidden_state[:, 0]


def crop_middle(image: Image.Image, resize: int, crop: int) -> Image.Image:
    """The middle square of an image, its shorter side brought to size (bicubic) first.

    Args:
        image: RGB.
        resize: pixels that the shorter side gets.
        crop: pixels of the square; at most `resize`.
    """
    width, height = image.size
    short = min(width, height)
    size = (resize * width // short, resize * height // short)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (round((side - crop) / 2) for side in image.size)
    return image.crop((left, top, left + crop, top + crop))


def _load(kind: Any, path: str, device: str, **options: Any) -> Any:
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model, report = kind.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, output_loading_info=True, **options
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConfigError(
            f"weights: no {kind.__name__} can be loaded from {path}: {describe(error)}"
        ) from error
    if missing := sorted(report["missing_keys"]):
        raise ConfigError(f"weights: {path} lacks weights of a {kind.__name__}, {missing[0]} among them")
    return model.float().eval().to(find_device(device))


def _load_tokenizer(kind: Any, path: str) -> Any:
    try:
        return kind.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"weights: the tokenizer in {path} can't be read: {describe(error)}") from error


def _take_pooled(found: Any) -> Any:
    """transformers gives the vectors bare, or in an output with more."""
    return getattr(found, "pooler_output", found)


def _normalise(vectors: Any) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
