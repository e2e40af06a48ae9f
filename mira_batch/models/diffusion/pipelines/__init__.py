"""How each family of diffusion pipelines is called: what it makes of a batch, its authors' settings, and what
must be put right in it. `families.py` says which there are."""
