"""A synthetic world of edits: to try learning from end to end without weights, editors or judges of others.

Scenes are objects on a grid; instructions have one to three clauses, which may name an object by its place
beside another. The editor is exact, and loses edits now and then without a word. The expert, a policy, reads
the pixels. The judge is the truth. They go into an ordinary config as `custom` models; `python -m
mira_batch.train.world` writes tasks as an ordinary manifest.

No torch here: a model that can learn this world is in `model.py` and `pretrain.py`.
"""

from mira_batch.train.world.models import make_editor, make_expert, make_judge

__all__ = ["make_editor", "make_expert", "make_judge"]
