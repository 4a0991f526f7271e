"""The model card of a trained network: results, recipe, license, classes, and how to load it."""

import json
from typing import Any

from cnn_jax import models
from cnn_jax.interop import recognize
from cnn_jax.interop.export import about
from cnn_jax.interop.export.exported import Exported

SHOWN = 20  # classes by name; `config.json` has all
LOAD = {
    "timm": """import timm

model = timm.create_model("{place}", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))""",
    "cnn_jax": """import cnn_jax

network = cnn_jax.load_pretrained("{ours}")
probabilities = network.predict(images)""",
}


def text(network: Exported, library: str, repository: str | None) -> str:
    """The card in Markdown, with the header that the hub reads.

    Args:
      library: "timm" or "cnn_jax", which loads the weights.
      repository: OWNER/NAME, where it is known.
    """
    license = "other" if is_from_elsewhere(network.recipe) else "apache-2.0"
    header = [f"license: {license}", f"library_name: {library}"]
    header += ["pipeline_tag: image-classification", "tags:", "- image-classification", "- cnn_jax"]
    sections = [
        "\n".join(["---", *header, "---"]),
        f"# {network.name}\n\n{described(network)}",
        f"## Load\n\n{how_to_load(library, repository)}",
        f"## Images\n\n{images(network)}",
        f"## Classes\n\n{classes(network.class_names)}",
        f"## Results\n\n{results(network.recipe)}",
        f"## Recipe\n\n{recipe(network.recipe)}",
        f"## License\n\n{license_of(network.recipe)}",
    ]
    return "\n\n".join(sections) + "\n"


def described(network: Exported) -> str:
    """The network in a sentence."""
    usual = models.options(network.settings["name"]).items()
    own = {k: v for k, v in network.settings.items() if (k, v) not in usual and k != "unroll"}
    classes = f"{len(network.class_names):,} classes"
    return f"A {recognize.named(own)} for {classes}, exported by cnn_jax."


def how_to_load(library: str, repository: str | None) -> str:
    """Code for the library, and for ours where that is another."""
    place = f"hf-hub:{repository}" if repository else "local-dir:FOLDER"
    ours = f"hub:{repository}" if repository else "FOLDER"
    codes = [
        LOAD[one].format(place=place, ours=ours) for one in dict.fromkeys((library, "cnn_jax"))
    ]
    return "\n\n".join(f"```python\n{code}\n```" for code in codes)


def images(network: Exported) -> str:
    """What the network sees of an image, in words and as JSON."""
    facts = about.facts(network, raw=True)
    height, width, channels = network.image_shape
    shown = {name: facts[name] for name in ("view", "preprocessing")}
    if len(str(shown)) > 1000:
        shown["preprocessing"] = "one mean for each pixel, in config.json"
    return (
        f"{height} x {width} pixels, {channels} channels, less the mean and divided by std, "
        f"in pixel values from 0 to 255:\n\n```json\n{json.dumps(shown)}\n```"
    )


def classes(names: tuple[str, ...]) -> str:
    """The first names, and how many there are."""
    more = f", and {len(names) - SHOWN:,} more in `config.json`" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def results(recipe: dict[str, Any] | None) -> str:
    """A table of the run's last numbers."""
    rows = [
        f"| {split} | {name} | {value:.4g} |"
        for split, numbers in (recipe or {}).get("summary", {}).items()
        for name, value in numbers.items()
        if isinstance(value, int | float)
    ]
    if not rows:
        return "These weights came without results."
    return "\n".join(["| split | what | value |", "|---|---|---|", *rows])


def recipe(recipe: dict[str, Any] | None) -> str:
    """The config of the run; weights from elsewhere have none."""
    if recipe is None:
        return "These weights were trained elsewhere."
    config = json.dumps(recipe["config"], indent=1, default=str)
    return f"The config of the run, which cnn_jax trains again:\n\n```json\n{config}\n```"


def is_from_elsewhere(recipe: dict[str, Any] | None) -> bool:
    """Whether the training began with given weights, or is not known at all."""
    return recipe is None or recipe["config"]["init"]["weights"] is not None


def license_of(recipe: dict[str, Any] | None) -> str:
    """Under what the weights are."""
    if is_from_elsewhere(recipe):
        return (
            "That of the weights' source, which must be looked up there before they are passed on."
        )
    return "Apache-2.0, as cnn_jax; the license of the training images may ask for more."
