"""Targets: what the makers publish of devices, and what a text names."""

import pytest

from cnn_jax.accelerators import gpu_configs, targets
from cnn_jax.errors import UserError


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


@pytest.mark.parametrize(
    ("text", "devices"),
    [("gpu:h100:1", 1), ("gpu:h100:2x8", 16), ("tpu:v5e:2x4", 8), ("tpu:v5p:2x2x4", 16)],
)
def test_a_target_is_read_and_written_alike(text, devices):
    target = targets.parse(text)
    assert (str(target), target.devices) == (text, devices)


@pytest.mark.parametrize(
    "text",
    ["gpu:h100", "gpu:h100:0", "gpu:v5e:1", "tpu:v5e:4", "tpu:v4:2x2", "h100:8"],
)
def test_another_text_is_answered_with_the_targets_there_are(text):
    with pytest.raises(UserError, match="choose from: gpu:a100:N, .*tpu:v5e:NxN"):
        targets.parse(text)


def test_a_gpu_sends_seven_fourths_of_what_eight_add_up():
    seconds = targets.parse("gpu:h100:8").all_reduce_seconds(450e9)
    assert seconds == pytest.approx(7 / 4)
    assert targets.parse("gpu:h100:1").all_reduce_seconds(1e9) == 0


def test_between_hosts_each_gpu_sends_its_eighth_over_the_network():
    one, two = (targets.parse(f"gpu:h100:{hosts}x8") for hosts in (1, 2))
    more = two.all_reduce_seconds(8e9) - one.all_reduce_seconds(8e9)
    assert more == pytest.approx(1e9 / two.chip.network)


def test_a_large_slice_of_a_tpu_is_a_torus_and_uses_all_its_ports():
    small, large = targets.parse("tpu:v5e:8x8"), targets.parse("tpu:v5e:16x16")
    assert small.all_reduce_seconds(1e9) > 1.9 * large.all_reduce_seconds(1e9)


def test_every_gpu_has_a_text_for_the_compiler_with_its_memory():
    for name, chip in targets.GPUS.items():
        text = gpu_configs.text(name, None)
        assert f"device_memory_size: {chip.memory}\n" in text
        assert text.count("{") == text.count("}")


def test_a_file_that_is_no_target_config_is_named(tmp_path):
    file = tmp_path / "gpu.txt"
    with pytest.raises(UserError, match="gpu.txt: there is no such file"):
        gpu_configs.text("h100", file)
    file.write_bytes(b"\xff not one")
    with pytest.raises(UserError, match="gpu.txt is no target config"):
        gpu_configs.text("h100", file)
