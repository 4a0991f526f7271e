"""Experiment trackers, which mirror the numbers of a run."""
