"""Accelerators: what a config needs on one without owning it, and what to measure on one."""
