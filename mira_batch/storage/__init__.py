"""Everything that reads or writes: the run directory, manifests, images, and every Arrow schema."""
