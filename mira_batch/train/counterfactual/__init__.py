"""Which step ruined a trajectory: stored states are gone back to, and the ends that come of them judged.

`trajectories.py` chooses and reads, `states.py` says what is tried, the edit and the evaluate job do it,
`steps.py` makes rows of what came of it, and `run.py` is the way from a config to these.
"""
