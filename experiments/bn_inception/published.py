"""Ioffe & Szegedy (2015), arXiv:1502.03167: BN-Inception.

Accuracies and errors in percent on the ImageNet (ILSVRC 2012) validation images.
"""

# Section 4.2.1. None of our layouts has as many: the printed widths give 11.2 million.
PARAMETERS = 13.6e6

# The appendix's table: output size [H, W, C].
OUTPUTS = {
    "conv1": (112, 112, 64),
    "conv2": (56, 56, 192),
    "inception_3a": (28, 28, 256),
    "inception_3b": (28, 28, 320),
    "inception_3c": (14, 14, 576),  # printed before its stride: 28x28
    "inception_4a": (14, 14, 576),
    "inception_4b": (14, 14, 576),
    "inception_4c": (14, 14, 576),
    "inception_4d": (14, 14, 576),
    "inception_4e": (7, 7, 1024),  # printed before its stride: 14x14
    "inception_5a": (7, 7, 1024),
    "inception_5b": (7, 7, 1024),
}

# Counted for public ports of the printed layout, which have a plain 7x7 convolution, and biases
# before the batch norms: 10,016 parameters on which no output depends.
PORTED_PARAMETERS = 11_295_240
USELESS_BIASES = 10_016

# Figure 3, single crop: initial rate, steps to 72.2 % accuracy, greatest accuracy.
FIGURE_3 = {
    "Inception": {"rate": 0.0015, "steps": 31.0e6, "top1_accuracy": 72.2},
    "BN-Baseline": {"rate": 0.0015, "steps": 13.3e6, "top1_accuracy": 72.7},
    "BN-x5": {"rate": 0.0075, "steps": 2.1e6, "top1_accuracy": 73.0},
    "BN-x30": {"rate": 0.045, "steps": 2.7e6, "top1_accuracy": 74.8},
    "BN-x5-Sigmoid": {"rate": 0.0075, "steps": None, "top1_accuracy": 69.8},
}
# Single crop, according to Szegedy et al. (2016), arXiv:1512.00567, Table 3.
SINGLE_CROP = {"top1_error": 25.2, "top5_error": 7.8}
BATCH_SIZE = 32  # section 4.2
ENSEMBLE_TOP5_ERROR = {"validation": 4.9, "test": 4.82}  # Figure 4: six networks, 144 crops
