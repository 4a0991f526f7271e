"""Data that does not fit into memory: read ahead of every step."""
