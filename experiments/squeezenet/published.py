"""Iandola et al. (2016), arXiv:1602.07360: SqueezeNet.

Accuracies in % on ImageNet's validation images, one center crop; sizes in MB as printed (MiB:
1,248,424 parameters of 4 bytes are 4.8). Numbers that could not be checked against the paper are
None or left out.
"""

# Table 1, version 1.0: output [H, W, C], parameters before pruning. The paper prints an input of
# 224x224; these sizes belong to 227x227, the authors' crop.
TABLE_1 = {
    "conv1": {"output": (111, 111, 96), "parameters": 14_208},
    "maxpool1": {"output": (55, 55, 96), "parameters": 0},
    "fire2": {"output": (55, 55, 128), "parameters": 11_920},
    "fire3": {"output": (55, 55, 128), "parameters": 12_432},
    "fire4": {"output": (55, 55, 256), "parameters": 45_344},
    "maxpool4": {"output": (27, 27, 256), "parameters": 0},
    "fire5": {"output": (27, 27, 256), "parameters": 49_440},
    "fire6": {"output": (27, 27, 384), "parameters": 104_880},
    "fire7": {"output": (27, 27, 384), "parameters": 111_024},
    "fire8": {"output": (27, 27, 512), "parameters": 188_992},
    "maxpool8": {"output": (13, 13, 512), "parameters": 0},
    "fire9": {"output": (13, 13, 512), "parameters": 197_184},
    "conv10": {"output": (13, 13, 1000), "parameters": 513_000},
}
TABLE_1_PARAMETERS = 1_248_424
# The sides of the same maps at 224x224.
SIDES_AT_224 = {"conv1": 109, "maxpool1": 54, "maxpool4": 27, "maxpool8": 13, "conv10": 13}
TABLE_1_PARAMETERS_AFTER_PRUNING = 421_098

# Table 2, by network and compression; the reduction is against AlexNet.
TABLE_2 = {
    ("alexnet", "none"): {
        "bits": "32", "megabytes": 240, "reduction": 1,
        "top1_accuracy": 57.2, "top5_accuracy": 80.3,
    },
    ("alexnet", "SVD"): {
        "bits": "32", "megabytes": 48, "reduction": 5,
        "top1_accuracy": 56.0, "top5_accuracy": 79.4,
    },
    ("alexnet", "network pruning"): {
        "bits": "32", "megabytes": 27, "reduction": 9,
        "top1_accuracy": 57.2, "top5_accuracy": 80.3,
    },
    ("alexnet", "deep compression"): {
        "bits": "5-8", "megabytes": 6.9, "reduction": 35,
        "top1_accuracy": 57.2, "top5_accuracy": 80.3,
    },
    ("squeezenet", "none"): {
        "bits": "32", "megabytes": 4.8, "reduction": 50,
        "top1_accuracy": 57.5, "top5_accuracy": 80.3,
    },
    ("squeezenet", "deep compression, 8 bit"): {
        "bits": "8", "megabytes": 0.66, "reduction": 363,
        "top1_accuracy": 57.5, "top5_accuracy": 80.3,
    },
    ("squeezenet", "deep compression, 6 bit"): {
        "bits": "6", "megabytes": 0.47, "reduction": 510,
        "top1_accuracy": 57.5, "top5_accuracy": 80.3,
    },
}  # fmt: skip

# Table 3, by `bypass`. The size of the complex bypass could not be checked: 1x1 convolutions around
# fire2, 4, 6 and 8, as in Figure 2, give 6.1 MiB, around every fire module 7.9.
TABLE_3 = {
    "none": {"top1_accuracy": 57.5, "top5_accuracy": 80.3, "megabytes": 4.8},
    "simple": {"top1_accuracy": 60.4, "top5_accuracy": 82.5, "megabytes": 4.8},
    "complex": {"top1_accuracy": 58.8, "top5_accuracy": 82.0, "megabytes": None},
}
COMPLEX_BYPASS_COUNTED = {"fire2, 4, 6, 8": 1_589_672, "every fire": 2_082_472}

# Section 5.1: SqueezeNet's place in the design space.
METAPARAMETERS = {
    "base_e": 128, "incr_e": 128, "pct_3x3": 0.5, "freq": 2, "squeeze_ratio": 0.125,
}  # fmt: skip

# Figure 3a by squeeze ratio; 3b by fraction of 3x3 filters, at a squeeze ratio of 0.5. The accuracy
# at 1.0 is inferred: the text says that it does not improve on 0.75.
FIGURE_3A = {
    0.125: {"top5_accuracy": 80.3, "megabytes": 4.8},
    0.5: {"top5_accuracy": None, "megabytes": 13},
    0.75: {"top5_accuracy": 86.0, "megabytes": 19},
    1.0: {"top5_accuracy": 86.0, "megabytes": None},
}
FIGURE_3B = {0.5: {"top5_accuracy": 85.6, "megabytes": 13}}
# Parameters by (squeeze ratio, fraction of 3x3 filters), counted from section 5.1.
FIGURE_3_COUNTED = {
    (0.125, 0.5): 1_248_424,
    (0.25, 0.5): 1_967_080,
    (0.375, 0.5): 2_685_736,
    (0.5, 0.5): 3_404_392,
    (0.75, 0.5): 4_841_704,
    (1.0, 0.5): 6_279_016,
    (0.5, 0.01): 1_478_248,
    (0.5, 0.12): 1_908_328,
    (0.5, 0.25): 2_421_352,
    (0.5, 0.75): 4_387_432,
    (0.5, 0.99): 5_330_536,
}

# README of the released code: 10^9 operations, two for each multiply-add. Version 1.0 has as many
# at 227x227 with `conv10_padding=1`; for 1.1 we count other numbers, by the side of the image.
README = {
    "1.0": {"gigaflops": 1.72, "top5_accuracy": 80.3},
    "1.1": {"gigaflops": 0.72, "top5_accuracy": 80.3},
}
README_1_1_COUNTED = {224: 0.698, 227: 0.775}

# torchvision's weights IMAGENET1K_V1 (resize 256, crop 224); multiply-adds at 224x224, in 10^9.
TORCHVISION = {
    "squeezenet1_0": {
        "parameters": 1_248_424, "multiply_adds": 0.819,
        "top1_accuracy": 58.092, "top5_accuracy": 80.420,
    },
    "squeezenet1_1": {
        "parameters": 1_235_496, "multiply_adds": 0.349,
        "top1_accuracy": 58.178, "top5_accuracy": 80.624,
    },
}  # fmt: skip
