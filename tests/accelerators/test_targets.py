"""Targets: what the makers publish of devices, and what a text names."""

import pytest

from cnn_jax.accelerators import targets


@pytest.mark.parametrize(
    "kind,dtype,expected",
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989e12),
        ("NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("NVIDIA A100-SXM4-40GB", "float32", 156e12),
        ("TPU v5 lite", "bfloat16", 197e12),
        ("TPU v5p", "bfloat16", 459e12),
        ("cpu", "float32", None),
    ],
)
def test_the_peak_of_a_device_is_found_by_its_kind(kind, dtype, expected):
    assert targets.peak(kind, dtype) == expected
