"""What a trained network looks at, gets wrong, and is made of.

Each module has functions that return data, and others that draw it on matplotlib axes:

    gradcam, saliency, occlusion    which pixels speak for a class
    channels, receptive             what a channel answers to, and what its units can see
    answers                         what a network says of a split: the others here begin with it
    confusion, hardest, calibration what it takes for what, where it errs most, how sure it may be
    filters, norms, batch_norms     its weights
"""
