"""Training data for policies: from sessions of others and trajectories of ours to samples."""
