"""Zagoruyko, Komodakis (2016), "Wide Residual Networks", arXiv:1605.07146.

Test errors in %, on CIFAR the median of five runs, in Table 9 of single runs; networks by
"depth-width". Parameters as printed. Tables named `COUNTED` are not published: we counted from the
sizes of the layers.
"""

# Table 2: types of blocks, width 2, CIFAR-10 (ZCA-whitened); seconds for an epoch.
TABLE_2 = {
    "B(1,3,1)": {"depth": 40, "parameters": 1.4e6, "seconds": 85.8, "error": 6.06},
    "B(3,1)": {"depth": 40, "parameters": 1.2e6, "seconds": 67.5, "error": 5.78},
    "B(1,3)": {"depth": 40, "parameters": 1.3e6, "seconds": 72.2, "error": 6.42},
    "B(3,1,1)": {"depth": 40, "parameters": 1.3e6, "seconds": 82.2, "error": 5.86},
    "B(3,3)": {"depth": 28, "parameters": 1.5e6, "seconds": 67.5, "error": 5.73},
    "B(3,1,3)": {"depth": 22, "parameters": 1.1e6, "seconds": 59.9, "error": 5.78},
}
# With N = (depth - 4) / 6 blocks in a group for every type; no other N agrees with the table.
TABLE_2_COUNTED = {
    "B(1,3,1)": 1_429_082,
    "B(3,1)": 1_211_354,
    "B(1,3)": 1_297_370,
    "B(3,1,1)": 1_343_066,
    "B(3,3)": 1_467_610,
    "B(3,1,3)": 1_145_498,
}

# With N = (depth - 4) / (3 convolutions), as if the depth counted layers; the table disagrees.
TABLE_2_COUNTED_BY_LAYERS = {"B(1,3,1)": 953_306, "B(3,1,1)": 867_290, "B(3,1,3)": 735_578}

# Table 3: by number of convolutions in a block, WRN-40-2, CIFAR-10 (ZCA-whitened).
TABLE_3 = {1: 6.69, 2: 5.43, 3: 5.65, 4: 5.93}
TABLE_3_COUNTED = {1: 2_243_546, 2: 2_243_546, 3: 2_243_546, 4: 2_243_546}

# Table 4: depth and width, ZCA-whitened, without dropout. Table 5, with another preprocessing, has
# 4.00 and 19.25 for 28-10.
TABLE_4 = {
    "40-1": {"parameters": 0.6e6, "CIFAR-10": 6.85, "CIFAR-100": 30.89},
    "40-2": {"parameters": 2.2e6, "CIFAR-10": 5.33, "CIFAR-100": 26.04},
    "40-4": {"parameters": 8.9e6, "CIFAR-10": 4.97, "CIFAR-100": 22.89},
    "40-8": {"parameters": 35.7e6, "CIFAR-10": 4.66},
    "28-10": {"parameters": 36.5e6, "CIFAR-10": 4.17, "CIFAR-100": 20.50},
    "28-12": {"parameters": 52.5e6, "CIFAR-10": 4.33, "CIFAR-100": 20.43},
    "22-8": {"parameters": 17.2e6, "CIFAR-10": 4.38, "CIFAR-100": 21.22},
    "22-10": {"parameters": 26.8e6, "CIFAR-10": 4.44, "CIFAR-100": 20.75},
    "16-8": {"parameters": 11.0e6, "CIFAR-10": 4.81, "CIFAR-100": 22.07},
    "16-10": {"parameters": 17.1e6, "CIFAR-10": 4.56, "CIFAR-100": 21.59},
}
# Parameters for 10 and 100 classes; multiply-adds in 1e9 for 32x32 images.
COUNTED = {
    "40-1": {10: 563_930, 100: 569_780, "multiply_adds": 0.083},
    "40-2": {10: 2_243_546, 100: 2_255_156, "multiply_adds": 0.328},
    "40-4": {10: 8_949_210, 100: 8_972_340, "multiply_adds": 1.299},
    "40-8": {10: 35_748_314, 100: 35_794_484, "multiply_adds": 5.172},
    "28-10": {10: 36_479_194, 100: 36_536_884, "multiply_adds": 5.243},
    "28-12": {10: 52_517_850, 100: 52_587_060, "multiply_adds": 7.544},
    "22-8": {10: 17_158_106, 100: 17_204_276, "multiply_adds": 2.454},
    "22-10": {10: 26_797_914, 100: 26_855_604, "multiply_adds": 3.828},
    "16-8": {10: 10_961_370, 100: 11_007_540, "multiply_adds": 1.548},
    "16-10": {10: 17_116_634, 100: 17_174_324, "multiply_adds": 2.412},
    # Not in Table 4:
    "16-2": {10: 691_674, 100: 703_284, "multiply_adds": 0.101},
    "16-4": {10: 2_748_890, 100: 2_772_020, "multiply_adds": 0.393},
    "28-2": {10: 1_467_610, 100: 1_479_220, "multiply_adds": 0.214},
    "40-10": {10: 55_841_754, 100: 55_899_444, "multiply_adds": 8.074},
    "52-1": {10: 758_362, 100: 764_212, "multiply_adds": 0.112},
}

# Table 5: comparison; mean and std normalization, moderate augmentation, no dropout. Slips of the
# table: depth 1202 has 19.4e6 parameters; 25.16 and 27.82 belong to the original ResNet-164 and
# -1001 of arXiv:1603.05027, where batch 64 has 4.62. Stochastic depth comes from an early version
# of its paper; the final one has 5.25 and 24.98.
TABLE_5 = {
    "NIN": {"CIFAR-10": 8.81, "CIFAR-100": 35.67},
    "DSN": {"CIFAR-10": 8.22, "CIFAR-100": 34.57},
    "FitNet": {"CIFAR-10": 8.39, "CIFAR-100": 35.04},
    "Highway": {"CIFAR-10": 7.72, "CIFAR-100": 32.39},
    "ELU": {"CIFAR-10": 6.55, "CIFAR-100": 24.28},
    "original ResNet-110": {"parameters": 1.7e6, "CIFAR-10": 6.43, "CIFAR-100": 25.16},
    "original ResNet-1202": {"parameters": 10.2e6, "CIFAR-10": 7.93, "CIFAR-100": 27.82},
    "stochastic depth 110": {"parameters": 1.7e6, "CIFAR-10": 5.23, "CIFAR-100": 24.58},
    "stochastic depth 1202": {"parameters": 10.2e6, "CIFAR-10": 4.91},
    "pre-activation ResNet-110": {"parameters": 1.7e6, "CIFAR-10": 6.37},
    "pre-activation ResNet-164": {"parameters": 1.7e6, "CIFAR-10": 5.46, "CIFAR-100": 24.33},
    "pre-activation ResNet-1001": {"parameters": 10.2e6, "CIFAR-10": 4.92, "CIFAR-100": 22.71},
    "pre-activation ResNet-1001, batch 64": {"parameters": 10.2e6, "CIFAR-10": 4.64},
    "40-4": {"parameters": 8.9e6, "CIFAR-10": 4.53, "CIFAR-100": 21.18},
    "16-8": {"parameters": 11.0e6, "CIFAR-10": 4.27, "CIFAR-100": 20.43},
    "28-10": {"parameters": 36.5e6, "CIFAR-10": 4.00, "CIFAR-100": 19.25},
}

# The right numbers of parameters for the rows with a wrong one.
TABLE_5_SLIPS = {
    "original ResNet-1202": {"parameters": 19.4e6},
    "stochastic depth 1202": {"parameters": 19.4e6},
}

# Table 6, by (network, dropout), with rates of 0.3 on CIFAR and 0.4 on SVHN. The text has the two
# rows of 16-8.
TABLE_6 = {
    ("16-4", False): {"CIFAR-10": 5.02, "CIFAR-100": 24.03, "SVHN": 1.85},
    ("16-4", True): {"CIFAR-10": 5.24, "CIFAR-100": 23.91, "SVHN": 1.64},
    ("28-10", False): {"CIFAR-10": 4.00, "CIFAR-100": 19.25},
    ("28-10", True): {"CIFAR-10": 3.89, "CIFAR-100": 18.85},
    ("52-1", False): {"CIFAR-10": 6.43, "CIFAR-100": 29.89, "SVHN": 2.08},
    ("52-1", True): {"CIFAR-10": 6.28, "CIFAR-100": 29.78, "SVHN": 1.70},
    ("16-8", False): {"SVHN": 1.81},
    ("16-8", True): {"SVHN": 1.54},
}

# Table 7: ImageNet validation, basic blocks, one crop, by (depth, width).
TABLE_7 = {
    (18, 1.0): {"top1": 30.4, "top5": 10.93, "parameters": 11.7e6},
    (18, 1.5): {"top1": 27.06, "top5": 9.0, "parameters": 25.9e6},
    (18, 2.0): {"top1": 25.58, "top5": 8.06, "parameters": 45.6e6},
    (18, 3.0): {"top1": 24.06, "top5": 7.33, "parameters": 101.8e6},
    (34, 1.0): {"top1": 26.77, "top5": 8.67, "parameters": 21.8e6},
    (34, 1.5): {"top1": 24.5, "top5": 7.58, "parameters": 48.6e6},
    (34, 2.0): {"top1": 23.39, "top5": 7.00, "parameters": 86.0e6},
}
TABLE_7_COUNTED = {
    (18, 1.0): 11_689_512,
    (18, 1.5): 25_875_816,
    (18, 2.0): 45_618_216,
    (18, 3.0): 101_783_976,
    (34, 1.0): 21_797_672,
    (34, 1.5): 48_613_608,
    (34, 2.0): 86_036_008,
}

# Table 8: ImageNet validation, bottlenecks, one crop; milliseconds for a batch of 16.
TABLE_8 = {
    "ResNet-50": {"top1": 24.01, "top5": 7.02, "parameters": 25.6e6, "milliseconds": 49},
    "ResNet-101": {"top1": 22.44, "top5": 6.21, "parameters": 44.5e6, "milliseconds": 82},
    "ResNet-152": {"top1": 22.16, "top5": 6.16, "parameters": 60.2e6, "milliseconds": 115},
    "WRN-50-2-bottleneck": {"top1": 21.9, "top5": 6.03, "parameters": 68.9e6, "milliseconds": 93},
    "pre-ResNet-200": {"top1": 21.66, "top5": 5.79, "parameters": 64.7e6, "milliseconds": 154},
}

# Table 9: best results of single runs, by (data set, network); CIFAR and SVHN with dropout. A slip:
# the top-5 error of 5.79 for WRN-50-2-bottleneck is pre-ResNet-200's; Table 8 has 6.03.
TABLE_9 = {
    ("CIFAR-10", "40-10"): {"error": 3.8},
    ("CIFAR-100", "40-10"): {"error": 18.3},
    ("SVHN", "16-8"): {"error": 1.54},
    ("ImageNet", "WRN-50-2-bottleneck"): {"top1": 21.9, "top5": 5.79},
    ("COCO", "WRN-34-2"): {"mean_average_precision": 35.2},
}

# In the text: the parameters of WRN-28-10 divided by those of ResNet-1001, as printed (10.2e6).
PARAMETERS_28_10_TO_1001 = 3.6

# Figure 4: milliseconds for a batch of 32, forward and backward, on a Titan X. A slip: bottleneck
# networks have depth 9n + 2, so "1004" must be the 1001 of arXiv:1603.05027.
FIGURE_4 = {"ResNet-164": 85, "ResNet-1004": 512, "40-4": 68, "16-10": 164, "28-10": 312}
