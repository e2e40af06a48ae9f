"""What benchmarks of image editing report of judged items: their own rows and means, with what is not in
them.

Pure arithmetic. Leaves reading their data, running the pipeline and judging to others.
"""
