"""Arrays in one `.safetensors` file, by names of a source or by ours."""

from pathlib import Path

from cnn_jax.errors import UserError
from cnn_jax.interop import convert, weights
from cnn_jax.interop.export import about, named, torch
from cnn_jax.interop.export.exported import Exported

OPTIONS = ("names",)


def write(network: Exported, out: Path, names: str | None = None) -> list[str]:
    """Writes the arrays, and what they expect of images as JSON beside them.

    Args:
      names: the source whose names the arrays have, or "ours"; by default those of the first
        source that has the network, and ours of one that none has.
    """
    if out.suffix != ".safetensors":
        raise UserError(f"such a file is called .safetensors, not {out.name}", 2)
    facts = about.facts(network, raw=True)
    place = about.beside(out, facts)
    found = None
    if names != named.OURS:
        try:
            found = named.by(network, names)
        except UserError:
            if names:
                raise
    if found:
        convert.write_state_dict(out, found.arrays)
        told = torch.line(out, found)
    else:
        own(network, out)
        told = f"{out}: arrays by names of cnn_jax, which reads it with model and classes"
    return [told, about.write(facts, place)]


def own(network: Exported, out: Path) -> None:
    """Writes the arrays by our names, with all that our reader needs."""
    facts = about.facts(network, raw=True) | {"model": network.settings}
    weights.save(out, network.variables, facts)
