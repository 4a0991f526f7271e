"""Han, Mao & Dally (2016), arXiv:1510.00149: Deep Compression.

Errors in %. `LAYER_COLUMNS` names the columns of Tables 2 to 5, whose sizes are in % of the 32-bit
weights.
"""

# Table 1: top-1 and top-5 error before and after, size in KB before and after, compression rate.
TABLE_1 = {
    "LeNet-300-100": {
        "before": (1.64, None), "after": (1.58, None), "kilobytes": (1070, 27), "rate": 40,
    },
    "LeNet-5": {
        "before": (0.80, None), "after": (0.74, None), "kilobytes": (1720, 44), "rate": 39,
    },
    "AlexNet": {
        "before": (42.78, 19.73), "after": (42.78, 19.70), "kilobytes": (240_000, 6_900),
        "rate": 35,
    },
    "VGG-16": {
        "before": (31.50, 11.32), "after": (31.17, 10.91), "kilobytes": (552_000, 11_300),
        "rate": 49,
    },
}  # fmt: skip

LAYER_COLUMNS = (
    "weights",  # as printed
    "density",  # % of weights that pruning keeps
    "weight_bits",  # after pruning and quantization
    "weight_bits_huffman",
    "index_bits",
    "index_bits_huffman",
    "size",  # % of the original, after pruning and quantization
    "size_huffman",
)


def _table(rows: dict[str, tuple]) -> dict[str, dict]:
    return {layer: dict(zip(LAYER_COLUMNS, row, strict=True)) for layer, row in rows.items()}


# Table 2: LeNet-300-100.
TABLE_2 = _table(
    {
        "ip1": ("235K", 8, 6, 4.4, 5, 3.7, 3.1, 2.32),
        "ip2": ("30K", 9, 6, 4.4, 5, 4.3, 3.8, 3.04),
        "ip3": ("1K", 26, 6, 4.3, 5, 3.2, 15.7, 12.70),
        "total": ("266K", 8, 6, 5.1, 5, 3.7, 3.1, 2.49),
    }
)

# Table 3: LeNet-5.
TABLE_3 = _table(
    {
        "conv1": ("0.5K", 66, 8, 7.2, 5, 1.5, 78.5, 67.45),
        "conv2": ("25K", 12, 8, 7.2, 5, 3.9, 6.0, 5.28),
        "ip1": ("400K", 8, 5, 4.5, 5, 4.5, 2.7, 2.45),
        "ip2": ("5K", 19, 5, 5.2, 5, 3.7, 6.9, 6.13),
        "total": ("431K", 8, 5.3, 4.1, 5, 4.4, 3.05, 2.55),
    }
)

# By variant of our `lenet`: parameters as printed, and counted for images of 28x28x1.
LENETS = {
    "300-100": {"table": 2, "printed": 266_000, "parameters": 266_610},
    "5": {"table": 3, "printed": 431_000, "parameters": 431_080},
}

# Table 4: AlexNet.
TABLE_4 = _table(
    {
        "conv1": ("35K", 84, 8, 6.3, 4, 1.2, 32.6, 20.53),
        "conv2": ("307K", 38, 8, 5.5, 4, 2.3, 14.5, 9.43),
        "conv3": ("885K", 35, 8, 5.1, 4, 2.6, 13.1, 8.44),
        "conv4": ("663K", 37, 8, 5.2, 4, 2.5, 14.1, 9.11),
        "conv5": ("442K", 37, 8, 5.6, 4, 2.5, 14.0, 9.43),
        "fc6": ("38M", 9, 5, 3.9, 4, 3.2, 3.0, 2.39),
        "fc7": ("17M", 9, 5, 3.6, 4, 3.7, 3.0, 2.46),
        "fc8": ("4M", 25, 5, 4.0, 4, 3.2, 7.3, 5.85),
        "total": ("61M", 11, 5.4, 4.0, 4, 3.2, 3.7, 2.88),
    }
)

# Table 5: VGG-16.
TABLE_5 = _table(
    {
        "conv1_1": ("2K", 58, 8, 6.8, 5, 1.7, 40.0, 29.97),
        "conv1_2": ("37K", 22, 8, 6.5, 5, 2.6, 9.8, 6.99),
        "conv2_1": ("74K", 34, 8, 5.6, 5, 2.4, 14.3, 8.91),
        "conv2_2": ("148K", 36, 8, 5.9, 5, 2.3, 14.7, 9.31),
        "conv3_1": ("295K", 53, 8, 4.8, 5, 1.8, 21.7, 11.15),
        "conv3_2": ("590K", 24, 8, 4.6, 5, 2.9, 9.7, 5.67),
        "conv3_3": ("590K", 42, 8, 4.6, 5, 2.2, 17.0, 8.96),
        "conv4_1": ("1M", 32, 8, 4.6, 5, 2.6, 13.1, 7.29),
        "conv4_2": ("2M", 27, 8, 4.2, 5, 2.9, 10.9, 5.93),
        "conv4_3": ("2M", 34, 8, 4.4, 5, 2.5, 14.0, 7.47),
        "conv5_1": ("2M", 35, 8, 4.7, 5, 2.5, 14.3, 8.00),
        "conv5_2": ("2M", 29, 8, 4.6, 5, 2.7, 11.7, 6.52),
        "conv5_3": ("2M", 36, 8, 4.6, 5, 2.3, 14.8, 7.79),
        "fc6": ("103M", 4, 5, 3.6, 5, 3.5, 1.6, 1.10),
        "fc7": ("17M", 4, 5, 4.0, 5, 4.3, 1.5, 1.25),
        "fc8": ("4M", 23, 5, 4.0, 5, 3.4, 7.1, 5.24),
        "total": ("138M", 7.5, 6.4, 4.1, 5, 3.1, 3.2, 2.05),
    }
)

# Table 6, AlexNet: top-1 and top-5 error by (bits of convolutions, bits of linear layers).
TABLE_6 = {
    (32, 32): (42.78, 19.73),
    (8, 5): (42.78, 19.70),
    (8, 4): (42.79, 19.73),
    (4, 2): (44.77, 22.33),
}

# Table 7, AlexNet: top-1 and top-5 error, MB, compression rate.
TABLE_7 = {
    "Fastfood-32-AD": (41.93, None, 131, 2),
    "Fastfood-16-AD": (42.90, None, 64, 3.7),
    "Collins & Kohli": (44.40, None, 61, 4),
    "SVD": (44.02, 20.56, 47.6, 5),
    "pruning": (42.77, 19.67, 27, 9),
    "pruning + quantization": (42.78, 19.70, 8.9, 27),
    "pruning + quantization + Huffman": (42.78, 19.70, 6.9, 35),
}

# The released compressed_SqueezeNet.net: stored entries of each convolution in order (sum 422,083),
# weights that are not zero, and file size in bytes. With its 3,976 uncompressed biases it
# has 419,897 parameters, not the 421,098 of arXiv:1602.07360, Table 1. Its indices have 4 bits; the
# paper's text has 8 for convolutions and 5 for linear layers, its tables 4 and 5.
SQUEEZENET_ENTRIES = (
    13902, 1528, 1020, 3073, 2038, 1023, 3081, 4085, 4071, 12288, 8160, 4067, 12343,
    12161, 4602, 27558, 9205, 9132, 27564, 24388, 8190, 44919, 16371, 16303, 45038, 105973,
)  # fmt: skip
SQUEEZENET_NONZERO = 415_921
SQUEEZENET_BYTES = 675_763
