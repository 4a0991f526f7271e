"""Simonyan & Zisserman (2014), arXiv:1409.1556: VGG, configurations A to E.

Errors in % on ImageNet's validation images. Numbers that could not be checked against the paper are
None.
"""

# Table 2: parameters in millions.
TABLE_2 = {"A": 133, "B": 133, "C": 134, "D": 138, "E": 144}

# Table 3, one test scale: top-1 and top-5 error by configuration, smallest side S in training and
# smallest side Q in the test. S in [256;512] is scale jittering.
TABLE_3 = {
    ("A", "256", 256): (None, 10.4),
    ("A-LRN", "256", 256): (29.7, 10.5),
    ("B", "256", 256): (28.7, 9.9),
    ("C", "256", 256): (28.1, 9.4),
    ("C", "384", 384): (28.1, 9.3),
    ("C", "[256;512]", 384): (27.3, 8.8),
    ("D", "256", 256): (27.0, 8.8),
    ("D", "384", 384): (26.8, 8.7),
    ("D", "[256;512]", 384): (25.6, 8.1),
    ("E", "256", 256): (27.3, 9.0),
    ("E", "384", 384): (26.9, 8.7),
    ("E", "[256;512]", 384): (25.5, 8.0),
}

# torchvision's weights IMAGENET1K_V1 (resize 256, crop 224); multiply-adds at 224x224 in 10^9,
# accuracies in %.
_COLUMNS = ("parameters", "multiply_adds", "top1_accuracy", "top5_accuracy")
_ROWS = {
    "vgg11": (132_863_336, 7.609, 69.020, 88.628),
    "vgg11_bn": (132_868_840, 7.609, 70.370, 89.810),
    "vgg13": (133_047_848, 11.308, 69.928, 89.246),
    "vgg13_bn": (133_053_736, 11.308, 71.586, 90.374),
    "vgg16": (138_357_544, 15.470, 71.592, 90.382),
    "vgg16_bn": (138_365_992, 15.470, 73.360, 91.516),
    "vgg19": (143_667_240, 19.632, 72.376, 90.876),
    "vgg19_bn": (143_678_248, 19.632, 74.218, 91.842),
}
TORCHVISION = {name: dict(zip(_COLUMNS, row, strict=True)) for name, row in _ROWS.items()}
