"""DiffusionNFT: an editor learns by its own samples, in a training that is a sequence of the package's own
jobs, and an update between them.

Owns what an iteration is (`iteration.py`), its groups (`groups.py`, pure), the update (`update.py`), what is
watched (`sentinels.py`, pure) and the files. Leaves samples to the edit job, scores to the evaluate job, the
loss to `train/editor/nft.py`, and the order of iterations to `train/iterations.py`.
"""
