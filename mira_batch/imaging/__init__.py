"""What pixels become, whoever gave them: the images of a manifest (storage/), those of editors (models/).
And how far one image is from another.

Owns the one conversion to what an edit works on, whether an encoded image is whole, and the facts of a result
against its source. Leaves where bytes come from, and how many there may be, to those who read them.
"""

from mira_batch.imaging.convert import UnfitImage, find_orientation, refuse_frames, to_srgb
from mira_batch.imaging.fidelity import Fidelity, measure_fidelity
from mira_batch.imaging.png import encode_frame, encode_png
from mira_batch.imaging.srgb import SRGB
from mira_batch.imaging.whole import load_whole

__all__ = [
    "SRGB",
    "Fidelity",
    "UnfitImage",
    "encode_frame",
    "encode_png",
    "find_orientation",
    "load_whole",
    "measure_fidelity",
    "refuse_frames",
    "to_srgb",
]
