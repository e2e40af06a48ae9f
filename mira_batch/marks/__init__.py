"""What an image says beside its pixels: what is read of it in sources, and written into results.

Owns resolution, rights, IPTC's digital source type, the depth that a source had, signed manifests (C2PA),
and the forms in which EXIF, XMP, IPTC-IIM and PNG have these. Leaves pixels and their colours to imaging/,
and which bytes may be read to storage/. Whatever is read is foreign: nothing in it fails a record, or is
believed.
"""

from mira_batch.marks.labels import Labels, label_png, make_labels
from mira_batch.marks.marks import Marks, Rights
from mira_batch.marks.read import find_depth, read_marks
from mira_batch.marks.signing import SignedEdit, SignedSource, SigningKey, read_key, sign_image

__all__ = [
    "Labels",
    "Marks",
    "Rights",
    "SignedEdit",
    "SignedSource",
    "SigningKey",
    "find_depth",
    "label_png",
    "make_labels",
    "read_key",
    "read_marks",
    "sign_image",
]
