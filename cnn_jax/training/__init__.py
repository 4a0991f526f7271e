"""Training: state, losses, schedules, optimizers, steps, evaluation, and the loop."""
