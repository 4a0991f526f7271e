"""Commands that look into networks."""
