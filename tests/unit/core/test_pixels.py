from __future__ import annotations

import pytest
from PIL import Image

from mira_batch.core.pixels import has_alpha


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_modes_with_alpha(mode: str) -> None:
    assert has_alpha(Image.new(mode, (2, 2)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "I", "F", "I;16"])
def test_other_modes_have_alpha_only_by_a_transparent_colour(mode: str) -> None:
    image = Image.new(mode, (2, 2))
    assert not has_alpha(image)
    image.info["transparency"] = 0
    assert has_alpha(image)
