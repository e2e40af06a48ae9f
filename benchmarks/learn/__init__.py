"""Learning from end to end in the synthetic world, by the real jobs, model class and trainers: `make learn`.

A model that has seen no edit is taught by demonstrations, measured against the ways that don't look, and
taught further by its own rollouts. Nothing is chosen on the tasks that are reported on.
"""
