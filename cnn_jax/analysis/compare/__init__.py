"""Trained networks beside each other.

Each module has a function of its own name that returns a DataFrame, and `draw`, which draws that on
matplotlib axes:

    curves          a number by step, epoch or time: mean and spread over the seeds
    cka             which layers of two networks represent images alike
    interpolation   the loss on the line between two checkpoints
    agreement       on which images networks say the same, and err alike
    changes         by how much the parameters of each layer differ
"""
