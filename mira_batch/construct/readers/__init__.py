"""Published data sets, and sessions of the user's own, each read in its own layout. A file for each."""
