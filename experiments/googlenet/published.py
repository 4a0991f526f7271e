"""Published numbers of Szegedy et al. (2015), arXiv:1409.4842, "Going Deeper with Convolutions".

Errors and accuracies in percent on the ImageNet (ILSVRC 2012) validation images, if not said
otherwise.
"""

# Section 5.
LAYERS_WITH_PARAMETERS = 22
LAYERS_WITH_POOLS = 27
DESIGN_MULTIPLY_ADDS = 1.5e9
# A slip: the layers have 8.7 times fewer parameters than AlexNet's.
FEWER_PARAMETERS_THAN_ALEXNET = 12
AUXILIARY_LOSS_WEIGHT = 0.3
DROPOUT = 0.4
AUXILIARY_DROPOUT = 0.7

# Table 1: output size [H, W, C], parameters in units of 1024, multiply-adds ("ops") in millions.
# The printed widths do not give all printed numbers: they give 118 and 51 ops for conv1 and 5a, 9.2
# parameters for conv1, and other parameters that differ by up to 8 %.
TABLE_1 = {
    "conv1": {"output": (112, 112, 64), "params": 2.7, "ops": 34},
    "conv2": {"output": (56, 56, 192), "params": 112, "ops": 360},
    "inception_3a": {"output": (28, 28, 256), "params": 159, "ops": 128},
    "inception_3b": {"output": (28, 28, 480), "params": 380, "ops": 304},
    "inception_4a": {"output": (14, 14, 512), "params": 364, "ops": 73},
    "inception_4b": {"output": (14, 14, 512), "params": 437, "ops": 88},
    "inception_4c": {"output": (14, 14, 512), "params": 463, "ops": 100},
    "inception_4d": {"output": (14, 14, 528), "params": 580, "ops": 119},
    "inception_4e": {"output": (14, 14, 832), "params": 840, "ops": 170},
    "inception_5a": {"output": (7, 7, 832), "params": 1072, "ops": 54},
    "inception_5b": {"output": (7, 7, 1024), "params": 1388, "ops": 71},
    "linear": {"output": (1000,), "params": 1000, "ops": 1},
}

# Table 3: validation error by number of models and of crops.
TABLE_3 = [
    {"models": 1, "crops": 1, "top5_error": 10.07},
    {"models": 1, "crops": 10, "top5_error": 9.15},
    {"models": 1, "crops": 144, "top5_error": 7.89},
    {"models": 7, "crops": 1, "top5_error": 8.09},
    {"models": 7, "crops": 10, "top5_error": 7.62},
    {"models": 7, "crops": 144, "top5_error": 6.67},
]
TOP5_ERROR_TEST = 6.67  # Table 2, the ensemble of 7 models with 144 crops

# Single crop, according to Szegedy et al. (2016), arXiv:1512.00567, Table 3.
SINGLE_CROP = {"top1_error": 29.0, "top5_error": 9.2}

# Caffe's bvlc_googlenet, which has the paper's layers, without the auxiliary classifiers.
PARAMETERS = 6_998_552

# Readme of BVLC's bvlc_googlenet: quick solver, 2,400,000 steps, one center crop. It trains without
# the paper's relighting, scales and aspect ratios.
BVLC = {"top1_accuracy": 68.7, "top5_accuracy": 88.9}

# torchvision's network (batch norm, 3x3 instead of 5x5) without the auxiliary classifiers.
TORCHVISION = {
    "top1_accuracy": 69.778,
    "top5_accuracy": 89.530,
    "parameters": 6_624_904,
    "billion_multiply_adds": 1.498,
}
