"""He et al. (2016), arXiv:1512.03385: the numbers of the paper that stand beside ours."""

# Table 6: CIFAR-10 test error in %, depth -> error; 110 layers: best of five, and their mean.
TABLE_6 = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.43, 1202: 7.93}
TABLE_6_MEAN = {110: (6.61, 0.16)}

# Table 6: parameters as printed, in millions.
TABLE_6_PARAMETERS = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7, 1202: 19.4}

# Counted from the layers of section 4.2, option A, 10 classes: parameters, 1e6 multiply-adds.
CIFAR10_EXACT = {
    20: (269_722, 40.6),
    32: (464_154, 68.9),
    44: (658_586, 97.2),
    56: (853_018, 125.5),
    110: (1_727_962, 252.9),
    1202: (19_421_274, 2829),
}
