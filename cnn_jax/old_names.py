"""What config fields and arrays were called until November 2026, and fields that came later.

Runs, compressed networks, sweeps and records of results from before carry them. They are translated
where they are read, here alone, so that old runs open and continue; a run that is continued writes
its config anew. To be removed with version 2, when nobody continues such a run any more.
"""

from collections.abc import Mapping
from typing import Any

FIELDS = {
    "colour": "color",
    "preprocessing.deviation": "preprocessing.std",
    "model.factorised_stem": "model.factorized_stem",
    "compression.initialisation": "compression.initialization",
}
VIEWS = {"whole": "full", "centre": "center"}  # values of the fields below
VIEW_FIELDS = {
    *("view.train.kind", "view.train.frame"),
    *("view.evaluation.kind", "view.evaluation.frame"),
}
# Fields that came later, with the value of what was done before.
ADDED = {
    "color": {"formulas": "torch"},
    "data": {"exclude": None},
    "optimizer": {
        **{"clips_decay": False, "freeze": [], "freeze_until": None},
        **{"rate_by_layer": [], "layer_decay": 1.0},
    },
}
GROUPS_ADDED = {  # whole groups, of recipes
    "compiler": {"options": "", "deterministic": False},
    "init": {"weights": None, "layers": ["*"]},
    "logging": {"wandb": None, "mlflow": None},
}
MODEL_ADDED = {  # by family
    "resnet": {"order": "original", "shortcut_bn": True, "death_rate": 0.0},
    "wide_resnet": {"init_fan": "in"},
}
ARRAYS = {"deviation": "std"}  # of `Preprocessing`
RECIPE = {"departures": "deviations"}  # of the records of results


def config(old: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the fields of today."""
    new = renamed(old)
    for name, added in ADDED.items():
        if name in new:
            new[name] = added | new[name]
    if "precision" in new:  # a recipe, not only a network
        new = GROUPS_ADDED | new
    if "name" in new.get("model", {}):
        new["model"] = MODEL_ADDED.get(new["model"]["name"], {}) | new["model"]
    return new


def renamed(old: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The fields of a config, or of its group `prefix`, under their names of today."""
    new = {}
    for name, value in old.items():
        field = FIELDS.get(prefix + name, prefix + name)
        if isinstance(value, Mapping):
            value = renamed(value, f"{field}.")
        elif field in VIEW_FIELDS:
            value = VIEWS.get(value, value)
        new[field.rpartition(".")[2]] = value
    return new


def arrays(old: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of a `Preprocessing` under their names of today."""
    return {ARRAYS.get(name, name): array for name, array in old.items()}


def table(old: Mapping[str, Any]) -> dict[str, Any]:
    """What a sweep or a record says of its table, with what tables did not say before.

    They did not say whether their recipes are in full: none of them counts as such.
    """
    return {"runs": 1, "full": False, "protocols": {}, "note": "", "command": ""} | old


def record(old: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a run under the names of today."""
    recipe = {RECIPE.get(name, name): value for name, value in old["recipe"].items()}
    return {"measurements": {}, **old, "recipe": table(recipe)}
