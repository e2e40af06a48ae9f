"""Images as policies are shown them. Needs Pillow only."""

from __future__ import annotations

from PIL import Image


def on_white(image: Image.Image) -> Image.Image:
    """An image in RGB, as a person sees it: what is transparent shows white, whatever colour lies below."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
