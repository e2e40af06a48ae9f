"""What pixels become, whoever gave them: the images of a manifest (storage/), those of editors (models/).

Owns the one conversion to what an edit works on. Leaves encoded bytes, and how many there may be, to those
who read them.
"""

from mira_batch.imaging.convert import UnfitImage, refuse_frames, to_srgb
from mira_batch.imaging.srgb import SRGB

__all__ = ["SRGB", "UnfitImage", "refuse_frames", "to_srgb"]
