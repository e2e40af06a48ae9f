"""Policies, editors and judges: what they are, how they are built, and how requests reach them.

    loader.py      the models of one process, each behind its client: what a job calls
    registry.py    from a config to the model it names
    embedded/ qwen/ diffusion/ remote/ simulated.py      the models
    tiny/          random checkpoints of the real classes
    serving/ torch_support/ imports.py                   what models share

Each imports what stands below it, and of another room only what its `__init__` exports. Heavy libraries
(torch, transformers, diffusers) are imported inside the functions that need them.
"""
