"""The DataLoader with which `streaming.py` compares: its workers run torchvision's transforms."""

import torch
from PIL import Image

try:
    from torchvision import transforms
    from torchvision.transforms import v2
except RuntimeError:
    # With a CPU-only PyTorch, torchvision lacks its compiled operators. Its transforms need none of
    # them, but its import needs their names.
    OPERATORS = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool"):
        OPERATORS.define(f"{name}(Tensor x) -> Tensor")
    from torchvision import transforms
    from torchvision.transforms import v2

CROPS = {
    "area_aspect": lambda size: [transforms.RandomResizedCrop(size)],
    "scale_crop": lambda size: [
        v2.RandomShortestSize(list(range(256, 481))),
        transforms.RandomCrop(size),
    ],
}


class TorchImages(torch.utils.data.Dataset):
    """Normalized crops, half of them flipped; repeats the files of a source up to `length`."""

    def __init__(self, source, length: int, view: str, size: int):
        self.source, self.length = source, length
        self.transform = transforms.Compose(
            [
                *CROPS[view](size),
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


def start(source, batch_size: int, view: str, size: int, workers: int):
    """`next_batch()` of a DataLoader that is practically endless."""
    loader = torch.utils.data.DataLoader(
        TorchImages(source, 10**6, view, size),
        batch_size,
        shuffle=True,
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,
    )
    return iter(loader).__next__
