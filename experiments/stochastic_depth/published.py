"""Huang, Sun, Liu, Sedra et al. (2016), "Deep Networks with Stochastic Depth", arXiv:1603.09382.

Errors in %.
"""

# Table 1: test error at the epoch that is best on the validation images; "+" is with augmentation.
# ImageNet: top-1 error of ResNet-152 on the validation images, after 120 epochs. A slip: the text
# says 27.22 where the table has 27.76. Earlier versions: 5.23 and 24.58 for stochastic depth.
TABLE_1 = {
    "constant depth": {"CIFAR-10+": 6.41, "CIFAR-100+": 27.76, "SVHN": 1.80, "ImageNet": 21.78},
    "stochastic depth": {"CIFAR-10+": 5.25, "CIFAR-100+": 24.98, "SVHN": 1.75, "ImageNet": 21.98},
}
TABLE_1_OTHERS = {
    "Maxout": {"CIFAR-10+": 9.38},
    "DropConnect": {"CIFAR-10+": 9.32},
    "NIN": {"CIFAR-10+": 8.81},
    "DSN": {"CIFAR-10+": 7.97},
    "All-CNN": {"CIFAR-10+": 7.25},
    "LearnAct": {"CIFAR-10+": 7.51, "CIFAR-100+": 30.83},
    "R-CNN": {"CIFAR-10+": 7.09},
    "Scalable BO": {"CIFAR-10+": 6.37, "CIFAR-100+": 27.40},
    "Highway": {"CIFAR-10+": 7.60, "CIFAR-100+": 32.24},
    "Generalized pooling": {"CIFAR-10+": 6.05},
}

# In the text: 110 layers without augmentation.
WITHOUT_AUGMENTATION = {
    "constant depth": {"CIFAR-10": 13.63, "CIFAR-100": 44.74},
    "stochastic depth": {"CIFAR-10": 11.66, "CIFAR-100": 37.8},
}

# In the text: 1202 layers, CIFAR-10 with augmentation.
RESNET_1202 = {"constant depth": 6.67, "stochastic depth": 4.91}

# In the text: ResNet-152 on ImageNet, batches of 128, by the number of epochs.
RESNET_152 = {
    90: {"constant depth": 23.06, "stochastic depth": 23.38},
    120: {"constant depth": 21.78, "stochastic depth": 21.98},
}

# Training time in minutes.
TRAINING_TIME = {
    "constant depth": {"CIFAR-10+": 20 * 60 + 42, "CIFAR-100+": 20 * 60 + 51, "SVHN": 33 * 60 + 43},
    "stochastic depth": {
        "CIFAR-10+": 15 * 60 + 7,
        "CIFAR-100+": 15 * 60 + 20,
        "SVHN": 25 * 60 + 33,
    },
}

# Section 3: the expected number of units in a step is (3L - 1) / 4, with p_L = 0.5 and L = 54.
EXPECTED_UNITS = {54: 40.25}
