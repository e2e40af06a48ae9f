"""Images on their way into a model and out of it. Pillow is imported when the first one comes.

Models are given read-only views (docs/adr/0013), so that one that draws on its input, or goes on drawing on
what it has returned, changes a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mira_batch.core.errors import describe
from mira_batch.core.pixels import has_alpha, read_only_view
from mira_batch.core.types import Frame
from mira_batch.models.serving.outcome import take_answers

if TYPE_CHECKING:
    from PIL.Image import Image

_FRAMES = ("original", "current", "image", "candidate")
"""Fields of requests that hold images."""


def guard_images(
    call: Callable[[Sequence[Any]], Sequence[Any]], max_pixels: int
) -> Callable[[Sequence[Any]], list[Any]]:
    """The call of a model that may draw on the images it is given and on those it returns.

    Args:
        call: of a batch.
        max_pixels: larger images that it returns are passed on as they came, to be refused.
    """

    def call_guarded(requests: Sequence[Any]) -> list[Any]:
        found = call([view_request(request) for request in requests])
        return [keep_answer(answer, max_pixels) for answer in take_answers(found, len(requests))]

    return call_guarded


def view_request(request: Any) -> Any:
    """The request with read-only views of its images."""
    frames = {
        name: Frame(read_only_view(frame.pixels), frame.digest)
        for name in _FRAMES
        if (frame := getattr(request, name, None)) is not None
    }
    return replace(request, **frames)


def keep_answer(answer: Any, max_pixels: int) -> Any:
    """An answer that stays as it is, whatever the model does to its image from now on.

    Args:
        answer: what the model returned for one request.
        max_pixels: see `guard_images`.

    Returns:
        The answer, or the error of an image that can't be had.
    """
    from PIL.Image import Image

    if not isinstance(answer, Image) or find_size_problem(answer, max_pixels):
        return answer
    try:
        answer.load()
        answer.readonly = 1
        if answer.mode not in ("RGB", "RGBA"):
            return answer.copy()
        view = read_only_view(answer)
        view.info = dict(answer.info)  # the profile that its colours are meant by, say
        return view
    except MemoryError:
        raise
    except Exception as error:  # of a file that is closed or damaged: this answer's own fault
        return error
    except BaseException as error:
        return RuntimeError(describe(error))


def find_size_problem(image: Image, max_pixels: int) -> str | None:
    """Why an editor's image has a size that is of no use, if so. It need not be decoded.

    Args:
        image: what the editor gave.
        max_pixels: the most it may have.
    """
    width, height = image.size
    if min(width, height) < 1:
        return f"the editor returned an empty image of {width} x {height}"
    if width * height > max_pixels:
        return (
            f"the editor's image of {width} x {height} has more than {max_pixels:,} pixels "
            "(limits.max_result_pixels)"
        )
    return None


def lay_on_white(image: Image) -> Image:
    """An image in RGB, as a person sees it: what is transparent shows white, whatever colour lies below."""
    if not has_alpha(image):
        return image if image.mode == "RGB" else image.convert("RGB")
    from PIL import Image as images

    layer = image.convert("RGBA")
    return images.alpha_composite(images.new("RGBA", layer.size, "white"), layer).convert("RGB")
