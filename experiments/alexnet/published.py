"""Krizhevsky, Sutskever & Hinton (2012), "ImageNet classification with deep CNNs": AlexNet.

Accuracies in % on ImageNet's validation images, one center crop.
"""

# The grouped network at 227x227; arXiv:1602.07360 and arXiv:1510.00149 give it 240 MB.
PARAMETERS = 60_965_224
MULTIPLY_ADDS = 724_406_816
# The same network without groups.
PARAMETERS_WITHOUT_GROUPS = 62_378_344

# BVLC's readme of bvlc_alexnet: iteration 360,000; hidden biases 0.1 and no color augmentation.
BVLC = {"top1_accuracy": 57.1, "top5_accuracy": 80.2}

# torchvision's weights IMAGENET1K_V1 (one tower; resize 256, crop 224); multiply-adds at 224x224,
# in 10^9.
TORCHVISION = {
    "alexnet": {
        "parameters": 61_100_840, "multiply_adds": 0.714,
        "top1_accuracy": 56.522, "top5_accuracy": 79.066,
    },
}  # fmt: skip
