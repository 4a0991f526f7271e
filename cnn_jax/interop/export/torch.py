"""A state dict for PyTorch's networks, as `torch.save` writes it; it needs PyTorch."""

from pathlib import Path

from cnn_jax.errors import UserError
from cnn_jax.interop import convert
from cnn_jax.interop.export import about, named
from cnn_jax.interop.export.exported import Exported

OPTIONS = ("names",)


def write(network: Exported, out: Path, names: str | None = None) -> list[str]:
    """Writes the arrays, and what they expect of images as JSON beside them.

    Args:
      names: the source whose names the arrays have; by default the first that has the network.
    """
    if out.suffix not in (".pth", ".pt"):
        raise UserError(f"a state dict of PyTorch is called .pth, not {out.name}", 2)
    found = named.by(network, names)
    facts = about.facts(network, raw=True)
    place = about.beside(out, facts)
    convert.write_state_dict(out, found.arrays)
    return [line(out, found), about.write(facts, place)]


def line(out: Path, found: named.Named) -> str:
    """What was written, and which network takes it."""
    network = f" of {found.network}" if found.network else ", for a network that it has not by name"
    which = f"{found.source}'s names" + (network if found.source in ("torchvision", "timm") else "")
    return f"{out}: {len(found.arrays)} arrays by {which}"
