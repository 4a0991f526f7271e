"""Several processes as one run, and how a run ends early without a loss."""
