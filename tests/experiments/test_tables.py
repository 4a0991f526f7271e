"""Every recipe and every member of every table builds and takes a step."""

import jax
import pytest
from rich.console import Console

from cnn_jax import config as configs
from cnn_jax.runs import load_run
from cnn_jax.training.train import train
from tests.conftest import ROOT
from tests.experiments import recipes


def takes_a_step(recipe, alike=("width",)):
    before, after, metrics = recipes.step_shapes(recipe, alike)
    same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), before, after)
    assert jax.tree.all(same)
    assert {"loss", "top1_error", "top5_error"} <= set(metrics)


# Whose tables take long, even one depth of each; the recipe of each takes a step all the same.
LARGE = ("imagenet.py", "preactivation/cifar.py", "wide_resnet/cifar.py")
SMALL = [table for table in recipes.TABLES if not table[0].endswith(LARGE)]


# Of the deepest networks, one of the same units takes the step.
FEWER = dict.fromkeys(["stochastic_depth/imagenet.py", "preactivation/imagenet.py"], 50)


@pytest.mark.parametrize("file", recipes.MODULES)
def test_the_recipe_of_every_file_takes_a_step(file):
    recipe = recipes.load(file)
    if depth := FEWER.get(file.removeprefix("experiments/")):
        assert recipe.config.model.depth > depth
        recipe = recipes.load(file, overrides={"model.depth": depth})
    takes_a_step(recipe, alike=("depth", "width"))


@pytest.mark.slow
@pytest.mark.parametrize("file", recipes.MODULES)
def test_every_word_of_a_variant_makes_a_recipe_that_takes_a_step(file):
    for words in recipes.MODULES[file].VARIANTS.values():
        for word in words:
            # Of ImageNet's networks those of 18 and 34 layers have plain counterparts.
            plain = word == "plain" and file.endswith("imagenet.py")
            takes_a_step(recipes.load(file, "plain,34" if plain else word))


@pytest.mark.parametrize("file,name", SMALL)
def test_every_kind_of_member_of_a_table_takes_a_step(file, name):
    """Deeper and wider networks have more of the same layers, and larger ones."""
    for row in recipes.MODULES[file].TABLES[name].rows():
        takes_a_step(recipes.of_row(file, row), alike=("depth", "width"))


@pytest.mark.slow
@pytest.mark.parametrize("file,name", recipes.TABLES)
def test_every_member_of_a_table_takes_a_step(file, name):
    for row in recipes.MODULES[file].TABLES[name].rows():
        takes_a_step(recipes.of_row(file, row))


SHALLOW = {
    "experiments/preactivation/cifar.py": "110",
    "experiments/wide_resnet/cifar.py": "10-1",
    "experiments/wide_resnet/imagenet.py": "18-1.5",
}
SMOKE = [file for file, module in recipes.MODULES.items() if "smoke" in str(module.VARIANTS)]


@pytest.mark.slow
@pytest.mark.parametrize("file", SMOKE)
def test_the_variant_smoke_trains_here(file, tmp_path):
    words = ",".join([*filter(None, [SHALLOW.get(file)]), "smoke"])
    config = configs.load_config(f"{ROOT / file}:{words}")
    train(config, tmp_path / "run", Console(quiet=True))
    assert load_run(tmp_path / "run").history.step.max() == 3
