"""Weights in and out: what `launch.py convert` and `launch.py export` call."""
