"""Looks inside networks: what `launch.py features` and `launch.py draw` call."""
