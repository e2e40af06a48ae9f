"""The catalogue's snapshots on the store: what is known of each record, over all runs under one output."""
