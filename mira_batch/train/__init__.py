"""Learning, as a sequence of batch jobs: rollouts, rewards, an update, an adapter in the store."""
