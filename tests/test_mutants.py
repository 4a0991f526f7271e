"""The mutants of a module are its small mistakes; what only tells or speeds up is left alone."""

import ast

import pytest

from tests.mutants.mutations import mutations

SOURCE = '''
"""A docstring with 3 words."""

RATES = (0.1, 0.01)  # 0.2 is a comment
Key = dict[str, 3]


class Layer:
    """Docs."""

    width: int = 1
    init: str = "he"

    def keys(self, key, step: int = 0):
        if step < 0:
            raise UserError(f"step {step + 1} is negative")
        first, second = jax.random.split(jax.random.fold_in(key, step))
        return zip(first, second, strict=True)
'''
EXPECTED = """
(0.1, 0.01) -> (0.01, 0.1)
0.1 -> 0.09000000000000001
0.01 -> 0.009000000000000001
1 -> 2
1 -> 0
init: str = 'he' -> init: str = 'he?'
0 -> 1
0 -> -1
if step < 0: raise UserError(f'step {step + 1} is negative') -> pass
step < 0 -> step <= 0
step < 0 -> step >= 0
0 -> 1
0 -> -1
first, second = jax.random.split(jax.random.fold_in(key, step)) -> second, first = jax.random.split(jax.random.fold_in(key, step))
first, second = jax.random.split(jax.random.fold_in(key, step)) -> first, second = [jax.random.split(jax.random.fold_in(key, step))[0]] * 2
jax.random.fold_in(key, step) -> key
zip(first, second, strict=True) -> zip(second, first, strict=True)
"""  # noqa: E501


def test_constants_defaults_comparisons_and_keys_are_changed_and_messages_are_not():
    found = [" ".join(mutation.text.split()) for mutation in mutations(ast.parse(SOURCE))]
    assert found == EXPECTED.strip().splitlines()


def test_applied_a_mutation_changes_one_place():
    lines = ast.unparse(ast.parse(SOURCE)).splitlines()
    for number, mutation in enumerate(mutations(ast.parse(SOURCE))):
        tree = ast.parse(SOURCE)
        list(mutations(tree))[number].apply()
        changed = ast.unparse(tree).splitlines()
        assert changed != lines, mutation.text
        if not mutation.text.endswith("-> pass"):
            assert sum(a != b for a, b in zip(changed, lines, strict=True)) == 1, mutation.text


@pytest.mark.parametrize("place,line", [("keys", 15), ("Layer", 11)])
def test_a_mutation_knows_its_statement(place, line):
    mutation = next(m for m in mutations(ast.parse(SOURCE)) if m.where.endswith(place))
    assert (mutation.statement or mutation.line) == line
