"""He, Zhang, Ren, Sun (2016), "Deep Residual Learning for Image Recognition", arXiv:1512.03385.

Errors in %, on ImageNet's validation images if not said otherwise. Tables named `COUNTED` are not
published: we counted parameters and multiply-adds from the sizes of the layers.
"""

# Table 1: multiply-adds ("FLOPs") for 224x224 images; strides in the first 1x1 of a bottleneck.
TABLE_1 = {18: 1.8e9, 34: 3.6e9, 50: 3.8e9, 101: 7.6e9, 152: 11.3e9}

# Section 3.3: multiply-adds of the compared networks. A slip: VGG-19 includes the linear layers,
# VGG-16 does not (with them it has 15.5e9).
SECTION_3_3 = {"plain-34": 3.6e9, "VGG-19": 19.6e9, "VGG-16": 15.3e9}
PLAIN_34_TO_VGG_19 = 0.18

# (depth, shortcut): parameters, and multiply-adds in 1e9 with the stride in the first 1x1.
COUNTED = {
    (18, "A"): {"parameters": 11_515_688, "multiply_adds": 1.795},
    (18, "B"): {"parameters": 11_689_512, "multiply_adds": 1.814},
    (18, "C"): {"parameters": 12_043_816, "multiply_adds": 1.878},
    (34, "A"): {"parameters": 21_623_848, "multiply_adds": 3.644},
    (34, "B"): {"parameters": 21_797_672, "multiply_adds": 3.664},
    (34, "C"): {"parameters": 22_716_840, "multiply_adds": 3.831},
    (50, "B"): {"parameters": 25_557_032, "multiply_adds": 3.858},
    (101, "B"): {"parameters": 44_549_160, "multiply_adds": 7.570},
    (152, "B"): {"parameters": 60_192_808, "multiply_adds": 11.282},
}

# Table 2: top-1 error, ten crops; shortcuts A.
TABLE_2 = {
    "plain-18": 27.94,
    "plain-34": 28.54,
    "ResNet-18": 27.88,
    "ResNet-34": 25.03,
}

# Table 3: ten crops.
TABLE_3 = {
    "VGG-16": {"top1": 28.07, "top5": 9.33},
    "GoogLeNet": {"top5": 9.15},
    "PReLU-net": {"top1": 24.27, "top5": 7.38},
    "plain-34": {"top1": 28.54, "top5": 10.02},
    "ResNet-34 A": {"top1": 25.03, "top5": 7.76},
    "ResNet-34 B": {"top1": 24.52, "top5": 7.46},
    "ResNet-34 C": {"top1": 24.19, "top5": 7.40},
    "ResNet-50": {"top1": 22.85, "top5": 6.71},
    "ResNet-101": {"top1": 21.75, "top5": 6.05},
    "ResNet-152": {"top1": 21.43, "top5": 5.71},
}

# Table 4: one model, fully convolutional at several scales; VGG (ILSVRC'14) on the test images.
TABLE_4 = {
    "VGG (ILSVRC'14)": {"top5": 8.43},
    "GoogLeNet (ILSVRC'14)": {"top5": 7.89},
    "VGG (v5)": {"top1": 24.4, "top5": 7.1},
    "PReLU-net": {"top1": 21.59, "top5": 5.71},
    "BN-Inception": {"top1": 21.99, "top5": 5.81},
    "ResNet-34 B": {"top1": 21.84, "top5": 5.71},
    "ResNet-34 C": {"top1": 21.53, "top5": 5.60},
    "ResNet-50": {"top1": 20.74, "top5": 5.25},
    "ResNet-101": {"top1": 19.87, "top5": 4.60},
    "ResNet-152": {"top1": 19.38, "top5": 4.49},
}

# Table 5: ensembles, top-5 error on the test images.
TABLE_5 = {
    "VGG (ILSVRC'14)": 7.32,
    "GoogLeNet (ILSVRC'14)": 6.66,
    "VGG (v5)": 6.8,
    "PReLU-net": 4.94,
    "BN-Inception": 4.82,
    "ResNet (ILSVRC'15)": 3.57,
}

# Table 6: CIFAR-10 test error, with augmentation; parameters as printed.
TABLE_6 = {
    "Maxout": {"error": 9.38},
    "NIN": {"error": 8.81},
    "DSN": {"error": 8.22},
    "FitNet-19": {"parameters": 2.5e6, "error": 8.39},
    "Highway-19": {"parameters": 2.3e6, "error": 7.54, "mean": 7.72, "std": 0.16},
    "Highway-32": {"parameters": 1.25e6, "error": 8.80},
    "ResNet-20": {"parameters": 0.27e6, "error": 8.75},
    "ResNet-32": {"parameters": 0.46e6, "error": 7.51},
    "ResNet-44": {"parameters": 0.66e6, "error": 7.17},
    "ResNet-56": {"parameters": 0.85e6, "error": 6.97},
    # 6.43 is the best of five runs; we compare with the mean.
    "ResNet-110": {"parameters": 1.7e6, "error": 6.43, "mean": 6.61, "std": 0.16},
    "ResNet-1202": {"parameters": 19.4e6, "error": 7.93},
}

# By depth, shortcuts A: parameters for 10 classes; multiply-adds in 1e6 for 32x32 images.
CIFAR_COUNTED = {
    20: {"parameters": 269_722, "multiply_adds": 40.6},
    32: {"parameters": 464_154, "multiply_adds": 68.9},
    44: {"parameters": 658_586, "multiply_adds": 97.2},
    56: {"parameters": 853_018, "multiply_adds": 125.5},
    110: {"parameters": 1_727_962, "multiply_adds": 252.9},
    1202: {"parameters": 19_421_274, "multiply_adds": 2829},
}
CIFAR_COUNTED_B = {20: 272_474, 32: 466_906, 44: 661_338, 56: 855_770, 110: 1_730_714}
CIFAR_COUNTED_100_CLASSES = {20: 275_572, 110: 1_733_812}

# README of KaimingHe/deep-residual-networks: shorter side 256; one center crop or ten crops of 224.
# The batch norms have no moving averages, but averages over many images, taken after training.
AUTHORS_REPOSITORY = {
    "VGG-16": {"top1": 28.5, "top5": 9.9},
    "ResNet-50": {"top1": 24.7, "top5": 7.8, "top1_ten_crop": 22.9, "top5_ten_crop": 6.7},
    "ResNet-101": {"top1": 23.6, "top5": 7.1, "top1_ten_crop": 21.8, "top5_ten_crop": 6.1},
    "ResNet-152": {"top1": 23.0, "top5": 6.7, "top1_ten_crop": 21.4, "top5_ten_crop": 5.7},
}

# README of facebookarchive/fb.resnet.torch: other augmentation, strides in the 3x3; crops of 224.
# ResNet-200 has pre-activation; one crop of 320 gives it 20.1 and 4.8. ResNet-50 has its last batch
# norms after the addition; 18 and 34 have none in their projections (issue 49).
FB_RESNET_TORCH = {
    18: {"top1": 30.43, "top5": 10.76, "top1_ten_crop": 28.22, "top5_ten_crop": 9.42},
    34: {"top1": 26.73, "top5": 8.74, "top1_ten_crop": 24.76, "top5_ten_crop": 7.35},
    50: {"top1": 24.01, "top5": 7.02, "top1_ten_crop": 22.24, "top5_ten_crop": 6.08},
    101: {"top1": 22.44, "top5": 6.21, "top1_ten_crop": 21.08, "top5_ten_crop": 5.35},
    152: {"top1": 22.16, "top5": 6.16, "top1_ten_crop": 20.69, "top5_ten_crop": 5.21},
    200: {"top1": 21.66, "top5": 5.79, "top1_ten_crop": 20.15, "top5_ten_crop": 4.93},
}

# torchvision 0.29.2, IMAGENET1K_V1: resized to 256, one crop of 224; errors are 100 - accuracy.
# Multiply-adds in 1e9, strides in the 3x3.
TORCHVISION = {
    "resnet18": {
        "parameters": 11_689_512,
        "multiply_adds": 1.814,
        "top1": 30.242,
        "top5": 10.922,
    },
    "resnet34": {
        "parameters": 21_797_672,
        "multiply_adds": 3.664,
        "top1": 26.686,
        "top5": 8.580,
    },
    "resnet50": {
        "parameters": 25_557_032,
        "multiply_adds": 4.089,
        "top1": 23.870,
        "top5": 7.138,
    },
    "resnet101": {
        "parameters": 44_549_160,
        "multiply_adds": 7.801,
        "top1": 22.626,
        "top5": 6.454,
    },
    "resnet152": {
        "parameters": 60_192_808,
        "multiply_adds": 11.514,
        "top1": 21.688,
        "top5": 5.954,
    },
    "wide_resnet50_2": {
        "parameters": 68_883_240,
        "multiply_adds": 11.398,
        "top1": 21.532,
        "top5": 5.914,
    },
    "wide_resnet101_2": {
        "parameters": 126_886_696,
        "multiply_adds": 22.753,
        "top1": 21.152,
        "top5": 5.716,
    },
    "resnext50_32x4d": {
        "parameters": 25_028_904,
        "multiply_adds": 4.230,
        "top1": 22.382,
        "top5": 6.302,
    },
    "resnext101_32x8d": {
        "parameters": 88_791_336,
        "multiply_adds": 16.414,
        "top1": 20.688,
        "top5": 5.474,
    },
}
# IMAGENET1K_V2, trained by a longer recipe.
TORCHVISION_V2 = {
    "resnet50": {"top1": 19.142, "top5": 4.566},
    "resnet101": {"top1": 18.114, "top5": 4.220},
    "resnet152": {"top1": 17.716, "top5": 3.998},
    "wide_resnet50_2": {"top1": 18.398, "top5": 4.242},
    "wide_resnet101_2": {"top1": 17.490, "top5": 3.980},
}
