"""What a user would pick instead of this package, on the same work in the same run.

`contest`: Ray Data and Daft, with simulated models. `served`: datatrove and asyncio scripts, over endpoints.
`torch_contest`: a plain script of diffusers, with a tiny FLUX.1-Kontext.
"""
