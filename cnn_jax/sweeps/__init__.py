"""A table of a paper as runs: what to run, running it here or on a cluster, what came out."""
