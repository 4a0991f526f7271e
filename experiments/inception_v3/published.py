"""Published numbers of Szegedy et al. (2016), arXiv:1512.00567: Inception-v2 and -v3.

Errors and accuracies in percent on the ImageNet (ILSVRC 2012) validation images; None: not given.
"""

# Section 10: evaluated on the images that are not blacklisted (1,762 are, in the development kit of
# ImageNet). On all 50,000, top-1 error is about 0.2 and top-5 error about 0.1 higher.
VALIDATION_IMAGES = 48_238

# Section 6 and abstract. The multiply-adds are a slip: neither the paper nor its authors' code has
# a network with so few, see `TABLE_3_COUNTED`.
LAYERS = 42
COST_RELATIVE_TO_GOOGLENET = 2.5
MULTIPLY_ADDS = 5e9
PARAMETERS_BELOW = 25e6

# Table 1: type, patch, stride, input size [H, W, C]; for modules, their number.
TABLE_1 = [
    {"type": "conv", "patch": 3, "stride": 2, "input": (299, 299, 3)},
    {"type": "conv", "patch": 3, "stride": 1, "input": (149, 149, 32)},
    {"type": "conv padded", "patch": 3, "stride": 1, "input": (147, 147, 32)},
    {"type": "pool", "patch": 3, "stride": 2, "input": (147, 147, 64)},
    {"type": "conv", "patch": 3, "stride": 1, "input": (73, 73, 64)},
    {"type": "conv", "patch": 3, "stride": 2, "input": (71, 71, 80)},
    {"type": "conv", "patch": 3, "stride": 1, "input": (35, 35, 192)},
    {"type": "inception", "figure": 5, "count": 3, "input": (35, 35, 288)},
    {"type": "inception", "figure": 6, "count": 5, "input": (17, 17, 768)},
    {"type": "inception", "figure": 7, "count": 2, "input": (8, 8, 1280)},
    {"type": "pool", "patch": 8, "input": (8, 8, 2048)},
    {"type": "linear", "input": (1, 1, 2048)},
    {"type": "softmax", "input": (1, 1, 1000)},
]

# The released network (tf-slim, inception_v3.py): output size of each end point, for 299x299x3.
END_POINTS = {
    "Conv2d_1a": (149, 149, 32),
    "Conv2d_2a": (147, 147, 32),
    "Conv2d_2b": (147, 147, 64),
    "MaxPool_3a": (73, 73, 64),
    "Conv2d_3b": (73, 73, 80),
    "Conv2d_4a": (71, 71, 192),
    "MaxPool_5a": (35, 35, 192),
    "Mixed_5b": (35, 35, 256),
    "Mixed_5c": (35, 35, 288),
    "Mixed_5d": (35, 35, 288),
    "Mixed_6a": (17, 17, 768),
    "Mixed_6b": (17, 17, 768),
    "Mixed_6c": (17, 17, 768),
    "Mixed_6d": (17, 17, 768),
    "Mixed_6e": (17, 17, 768),
    "Mixed_7a": (8, 8, 1280),
    "Mixed_7b": (8, 8, 2048),
    "Mixed_7c": (8, 8, 2048),
}

# The auxiliary head of the released network: output size of its layers for 299x299x3.
AUXILIARY_HEAD = {
    "pool": (5, 5, 768),
    "Conv2d_1b_1x1": (5, 5, 128),
    "Conv2d_2a_5x5": (1, 1, 768),
}

# Table 1 as printed, with the widths of the released network inside its modules and without
# auxiliary head: parameters (more than the abstract's), multiply-adds in 1e9.
TABLE_1_COUNTED = {"parameters": 25_934_984, "billion_multiply_adds": 6.353}

# Table 2: low-resolution input at nearly equal cost, a single frame.
TABLE_2 = [
    {"receptive_field": 79, "first_layer": "stride 1, no pooling", "top1_accuracy": 75.2},
    {"receptive_field": 151, "first_layer": "stride 1, max pooling", "top1_accuracy": 76.4},
    {"receptive_field": 299, "first_layer": "stride 2, max pooling", "top1_accuracy": 76.6},
]

# Table 3: single crop; each row below Inception-v2 adds its change to the rows above.
# "billion_ops" is the column "Cost Bn Ops" (multiply-adds).
TABLE_3 = [
    {"network": "GoogLeNet", "top1_error": 29.0, "top5_error": 9.2, "billion_ops": 1.5},
    {"network": "BN-GoogLeNet", "top1_error": 26.8, "top5_error": None, "billion_ops": 1.5},
    {"network": "BN-Inception", "top1_error": 25.2, "top5_error": 7.8, "billion_ops": 2.0},
    {"network": "Inception-v2", "top1_error": 23.4, "top5_error": None, "billion_ops": 3.8},
    {"network": "+ RMSProp", "top1_error": 23.1, "top5_error": 6.3, "billion_ops": 3.8},
    {"network": "+ label smoothing", "top1_error": 22.8, "top5_error": 6.1, "billion_ops": 3.8},
    {"network": "+ factorized 7x7", "top1_error": 21.6, "top5_error": 5.8, "billion_ops": 4.8},
    {"network": "+ BN-auxiliary", "top1_error": 21.2, "top5_error": 5.6, "billion_ops": 4.8},
]

# The printed costs are a slip. These are counted from the layers, in 1e9 multiply-adds for 299x299
# (GoogLeNet 224x224) without auxiliary heads; BN-Inception is not counted. GoogLeNet's 1.5 includes
# 0.034 for conv1, as its own paper prints; the layer has 0.118. BN-GoogLeNet is torchvision's.
TABLE_3_COUNTED = {
    "GoogLeNet": 1.583,
    "BN-GoogLeNet": 1.498,
    "Inception-v2": 5.300,
    "+ RMSProp": 5.300,
    "+ label smoothing": 5.300,
    "+ factorized 7x7": 5.713,
    "+ BN-auxiliary": 5.713,
}

# Table 4: one model, several crops; only the rows of the paper's own network.
TABLE_4 = [
    {"network": "Inception-v3", "crops": 12, "top1_error": 19.47, "top5_error": 4.48},
    {"network": "Inception-v3", "crops": 144, "top1_error": 18.77, "top5_error": 4.2},
]

# Table 5: ensembles, top-5 error on test and validation; only the row of the paper's own network.
TABLE_5 = [
    {
        "network": "Inception-v3",
        "models": 4,
        "crops": 144,
        "top5_error_test": 3.58,
        "top5_error": 3.46,
    },
]

# Other people's weights for the released network, single crop of 299x299. torchvision's parameters
# include the auxiliary head; Keras also counts the moving averages.
RELEASED_WEIGHTS = {
    "torchvision": {
        "top1_accuracy": 77.294,
        "top5_accuracy": 93.450,
        "parameters": 27_161_264,
        "billion_multiply_adds": 5.713,
    },
    "keras": {"top1_accuracy": 77.9, "top5_accuracy": 93.7, "million_parameters": 23.9},
    "timm inception_v3.tv": {"top1_accuracy": 77.472, "top5_accuracy": 93.468},
    "timm inception_v3.tf": {"top1_accuracy": 77.866, "top5_accuracy": 93.644},
    "timm inception_v3.tf_adv": {"top1_accuracy": 77.598, "top5_accuracy": 93.726},
    "timm inception_v3.gluon": {"top1_accuracy": 78.806, "top5_accuracy": 94.372},
}

# Counted from the sizes of the released network; the paper does not print them. "gamma" is a scale
# in the batch norms, which torchvision has and TensorFlow has not. TensorFlow has 1001 classes:
# class 0 is the background, so its labels are higher by one.
PARAMETERS = {
    "main, gamma, 1000 classes": 23_834_568,
    "auxiliary, gamma, 1000 classes": 3_326_696,
    "main, 1000 classes": 23_817_352,
    "main and auxiliary, 1001 classes": 27_145_970,
    "main and moving averages, 1000 classes": 23_851_784,
    "batch-norm channels of main": 17_216,
}
