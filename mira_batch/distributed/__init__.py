"""Plan, pool and worker: the only package that imports ray."""
