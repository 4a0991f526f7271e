"""The DataLoader that `streaming.py` is compared with: torchvision's transforms, in the workers."""

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


def start(source, batch_size: int, size: int, workers: int):
    """A DataLoader without an end, `next_batch()`, and its worker processes."""
    loader = torch.utils.data.DataLoader(
        TorchImages(source, 10**6, size),
        batch_size,
        shuffle=True,
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,
    )
    iterator = iter(loader)
    return iterator.__next__, iterator._workers
