"""The peak arithmetic of devices, as their makers publish it."""

# Part of JAX's `device_kind` -> (bfloat16, float32) FLOP/s of one device, without sparsity; the
# first that fits. float32 as JAX computes it by default: TF32 on NVIDIA, bfloat16 products on TPU.
# NVIDIA: the data sheets of A100, H100 and H200 (halved where they count sparsity).
# TPU: peak compute per chip, cloud.google.com/tpu/docs, pages v4, v5e, v5p and v6e.
PEAKS = {
    "A100": (312e12, 156e12),
    "H100 PCIe": (756e12, 378e12),
    "H100 NVL": (835e12, 417e12),
    "H200 NVL": (835e12, 417e12),
    "H100": (989e12, 494e12),
    "H200": (989e12, 494e12),
    "TPU v4": (275e12, 275e12),
    "TPU v5 lite": (197e12, 197e12),
    "TPU v5": (459e12, 459e12),
    "TPU v6 lite": (918e12, 918e12),
}


def peak(device_kind: str, dtype: str) -> float | None:
    """FLOP/s of a device in "bfloat16" or "float32"; None where it is not known."""
    for name, (bfloat16, float32) in PEAKS.items():
        if name in device_kind:
            return bfloat16 if dtype == "bfloat16" else float32
    return None
