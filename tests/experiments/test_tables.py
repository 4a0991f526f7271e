"""Every recipe and every member of every table builds and takes a step."""

import jax
import pytest

from tests.experiments import recipes


def takes_a_step(recipe):
    before, after, metrics = recipes.step_shapes(recipe)
    same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), before, after)
    assert jax.tree.all(same)
    assert {"loss", "top1_error", "top5_error"} <= set(metrics)


@pytest.mark.parametrize("file", recipes.MODULES)
def test_every_word_of_a_variant_makes_a_recipe_that_takes_a_step(file):
    for words in recipes.MODULES[file].VARIANTS.values():
        for word in words:
            takes_a_step(recipes.load(file, word))


@pytest.mark.parametrize("file,name", recipes.TABLES)
def test_every_member_of_a_table_takes_a_step(file, name):
    rows = list(recipes.MODULES[file].TABLES[name].rows())
    assert rows
    for row in rows:
        takes_a_step(recipes.of_row(file, row))
