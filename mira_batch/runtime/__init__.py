"""One durable runner, many jobs: plan, shards, workers, one create-only result file per shard. It is given
a job (`job.py`) and knows none; only `backends/` imports ray."""
