"""What benchmarks of image editing report of judged items: their own rows and means, and what is not in
these.

Pure arithmetic. Leaves reading their data, running the pipeline and judging to others.
"""
