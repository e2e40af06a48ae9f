"""GRPO with the editor in the loop: a training as a sequence of the package's own jobs, and an update between
them.

Owns what an iteration is (`iteration.py`), its rewards and groups (`rewards.py`, `groups.py`, pure), the
update (`update.py`), the guards and the files. Leaves rollouts to the edit job, scores to the evaluate job,
the loss to `train/losses.py`.
"""
