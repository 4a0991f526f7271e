"""The tables of papers as runs: which there are, and training them here or on a cluster."""
