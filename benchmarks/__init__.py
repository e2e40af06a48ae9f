"""Measures speed and memory: `make bench`. One function per figure, in a file per topic."""
