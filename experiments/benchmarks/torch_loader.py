"""The DataLoader that `streaming.py` is compared with: torchvision's transforms, in the workers."""

import os
import time
from pathlib import Path

import torch
from PIL import Image

try:
    from torchvision import transforms
except RuntimeError:
    # A torchvision without its compiled operators, as beside a CPU-only PyTorch: its transforms
    # need none of them, but its import asks for their names.
    OPERATORS = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool"):
        OPERATORS.define(f"{name}(Tensor x) -> Tensor")
    from torchvision import transforms


class TorchImages(torch.utils.data.Dataset):
    """The files of a source over and over, up to `length`, as fb.resnet.torch sees them."""

    def __init__(self, source, length: int, size: int):
        self.source, self.length = source, length
        self.transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int):
        i %= len(self.source)
        with open(self.source.where(i), "rb") as file:
            return self.transform(Image.open(file).convert("RGB")), int(self.source.labels[i])


def cpu_seconds(processes) -> float:
    """CPU time of this process and of others so far (Linux)."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def rate(source, batch_size: int, batches: int, size: int, workers: int) -> tuple[float, float]:
    """Images per second, and per CPU second, of a DataLoader at work: no start, no end."""
    ahead = max(1, 2 * workers)  # batches that workers make ahead, which the clock leaves out
    loader = torch.utils.data.DataLoader(
        TorchImages(source, (batches + 2 * ahead) * batch_size, size),
        batch_size,
        shuffle=True,
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,
    )
    iterator = iter(loader)
    for _ in range(ahead):
        next(iterator)
    processes = iterator._workers if workers else []
    begin, cpu_begin = time.perf_counter(), cpu_seconds(processes)
    for _ in range(batches):
        next(iterator)
    seconds, cpu = time.perf_counter() - begin, cpu_seconds(processes) - cpu_begin
    return batches * batch_size / seconds, batches * batch_size / cpu
