"""Errors of a trained network over a whole split, by the papers' protocols."""
