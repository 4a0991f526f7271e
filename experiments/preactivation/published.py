"""He, Zhang, Ren, Sun (2016), "Identity Mappings in Deep Residual Networks", arXiv:1603.05027.

Errors in %. `COUNTED` is not published: we counted parameters from the sizes of the layers.
"""

FAIL = "fail"  # the paper's word for a test error above 20 %

# Table 1: ResNet-110 on CIFAR-10, median of five runs, by (case, on shortcut, on F, initial bias).
# g(x) is the sigmoid of a 1x1 convolution with bias; each of the biases "0 to -5" fails.
TABLE_1 = {
    ("original", "1", "1", None): 6.61,
    ("constant scaling", "0", "1", None): FAIL,
    ("constant scaling", "0.5", "1", None): FAIL,
    ("constant scaling", "0.5", "0.5", None): 12.35,
    ("exclusive gating", "1-g(x)", "g(x)", "0 to -5"): FAIL,
    ("exclusive gating", "1-g(x)", "g(x)", "-6"): 8.70,
    ("exclusive gating", "1-g(x)", "g(x)", "-7"): 9.81,
    ("shortcut-only gating", "1-g(x)", "1", "0"): 12.86,
    ("shortcut-only gating", "1-g(x)", "1", "-6"): 6.91,
    ("1x1 conv shortcut", "1x1 conv", "1", None): 12.22,
    ("dropout shortcut", "dropout 0.5", "1", None): FAIL,
}

# Table 2: CIFAR-10, by the order of batch norm and ReLU and by the depth.
TABLE_2 = {
    "original": {110: 6.61, 164: 5.93},
    "BN after addition": {110: 8.17, 164: 6.50},
    "ReLU before addition": {110: 7.84, 164: 6.14},
    "ReLU-only pre-activation": {110: 6.71, 164: 5.91},
    "full pre-activation": {110: 6.37, 164: 5.46},
}

# Table 3, by (data set, network).
TABLE_3 = {
    ("CIFAR-10", "ResNet-110, one-layer skip"): {"baseline": 9.90, "preactivation": 8.91},
    ("CIFAR-10", "ResNet-110"): {"baseline": 6.61, "preactivation": 6.37},
    ("CIFAR-10", "ResNet-164"): {"baseline": 5.93, "preactivation": 5.46},
    ("CIFAR-10", "ResNet-1001"): {"baseline": 7.61, "preactivation": 4.92},
    ("CIFAR-100", "ResNet-164"): {"baseline": 25.16, "preactivation": 24.33},
    ("CIFAR-100", "ResNet-1001"): {"baseline": 27.82, "preactivation": 22.71},
}

# Table 4: comparison, moderate augmentation; parameters as printed. A slip: ResNet-1001 has 10.3e6
# if counted like the others; 10.2e6 omits batch norms and biases.
TABLE_4_CIFAR10 = {
    "NIN": {"error": 8.81},
    "DSN": {"error": 8.22},
    "FitNet": {"error": 8.39},
    "Highway": {"error": 7.72},
    "All-CNN": {"error": 7.25},
    "ELU": {"error": 6.55},
    "FitResNet, LSUV": {"error": 5.84},
    "ResNet-110": {"parameters": 1.7e6, "error": 6.61},
    "ResNet-1202": {"parameters": 19.4e6, "error": 7.93},
    "pre-activation ResNet-164": {"parameters": 1.7e6, "error": 5.46},
    "pre-activation ResNet-1001": {
        "parameters": 10.2e6,
        "error": 4.92,
        "mean": 4.89,
        "std": 0.14,
    },
    "pre-activation ResNet-1001, batch 64": {
        "parameters": 10.2e6,
        "error": 4.62,
        "mean": 4.69,
        "std": 0.20,
    },
}
TABLE_4_CIFAR100 = {
    "NIN": {"error": 35.68},
    "DSN": {"error": 34.57},
    "FitNet": {"error": 35.04},
    "Highway": {"error": 32.39},
    "All-CNN": {"error": 33.71},
    "ELU": {"error": 24.28},
    "FitNet, LSUV": {"error": 27.66},
    "ResNet-164": {"parameters": 1.7e6, "error": 25.16},
    "ResNet-1001": {"parameters": 10.2e6, "error": 27.82},
    "pre-activation ResNet-164": {"parameters": 1.7e6, "error": 24.33},
    "pre-activation ResNet-1001": {
        "parameters": 10.2e6,
        "error": 22.71,
        "mean": 22.68,
        "std": 0.22,
    },
}

# Table 5: ImageNet validation, one crop, by (network, augmentation, training crop, test crop).
TABLE_5 = {
    ("ResNet-152", "scale", 224, 224): {"top1": 23.0, "top5": 6.7},
    ("ResNet-152", "scale", 224, 320): {"top1": 21.3, "top5": 5.5},
    ("pre-activation ResNet-152", "scale", 224, 320): {"top1": 21.1, "top5": 5.5},
    ("ResNet-200", "scale", 224, 320): {"top1": 21.8, "top5": 6.0},
    ("pre-activation ResNet-200", "scale", 224, 320): {"top1": 20.7, "top5": 5.3},
    ("pre-activation ResNet-200", "scale + aspect ratio", 224, 320): {"top1": 20.1, "top5": 4.8},
    ("Inception-v3", "scale + aspect ratio", 299, 299): {"top1": 21.2, "top5": 5.6},
}

# In the text: ResNet-101 on ImageNet with the batch norm after the addition.
RESNET_101 = {
    "original": {"top1": 23.6, "top5": 7.1},
    "BN after addition": {"top1": 24.6, "top5": 7.5},
}

# Pre-activation networks for CIFAR, by (depth, classes).
COUNTED = {
    (110, 10): 1_727_962,
    (164, 10): 1_703_258,
    (164, 100): 1_726_388,
    (1001, 10): 10_327_706,
    (1001, 100): 10_350_836,
}
