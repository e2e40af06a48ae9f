"""Training data for policies: from sessions and runs to samples (`storage/samples.py`), and to other
trainers' formats.

Owns what is made of sessions and trajectories, stage by stage (`stages.py`), and what each dropped. Leaves
how a run is read to `storage.run`, how published data sets lie on disk to `storage.published`, training to
`train`.
"""
