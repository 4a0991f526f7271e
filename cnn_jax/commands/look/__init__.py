"""Looks inside networks: what `launch.py draw` calls."""
