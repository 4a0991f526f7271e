"""Batches divide by the devices, and of sharded parameters each device has a piece."""

import jax
import pytest
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from cnn_jax.errors import UserError
from cnn_jax.training import seeds, sharding

EIGHT = AbstractMesh((8,), ("data",))
SHAPES = {
    "kernel": (3, 3, 16, 64),
    "square": (8, 8),
    "first": (24, 16),
    "longest": (8, 7, 16),
    "odd": (7,),
    "scalar": (),
}


def specs(params):
    shapes = {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in SHAPES.items()}
    return {name: s.spec for name, s in sharding.shardings(shapes, EIGHT, params).items()}


def test_an_array_is_split_along_its_longest_axis_that_divides():
    assert specs("sharded") == {
        "kernel": PartitionSpec(None, None, None, "data"),
        "square": PartitionSpec("data"),
        "first": PartitionSpec("data"),
        "longest": PartitionSpec(None, None, "data"),
        "odd": PartitionSpec(),
        "scalar": PartitionSpec(),
    }


def test_replicated_arrays_are_whole_on_every_device():
    assert set(specs("replicated").values()) == {PartitionSpec()}
    assert sharding.replicated(EIGHT) == NamedSharding(EIGHT, PartitionSpec())


def test_examples_are_split_along_the_batch_and_not_along_the_steps():
    assert sharding.by_batch(EIGHT).spec == PartitionSpec(None, "data")


def test_a_mesh_has_all_devices_or_those_given_on_one_axis():
    mesh = sharding.data_mesh()
    assert mesh.axis_names == ("data",) and mesh.size == len(jax.devices())
    assert sharding.data_mesh(jax.devices()[:1]).size == 1
    assert mesh.axis_types == (jax.sharding.AxisType.Auto,)


@pytest.mark.parametrize("size,rounded", [(1, 8), (8, 8), (9, 16), (16, 16), (17, 24)])
def test_batches_of_an_evaluation_are_rounded_up_to_the_devices(size, rounded):
    assert sharding.rounded_up(size, EIGHT) == rounded


@pytest.mark.parametrize(
    "batch,microbatches,told",
    [
        (4, 1, "by 8 devices: take 8$"),
        (12, 1, "by 8 devices: take 8 or 16$"),
        (24, 2, "by 2 microbatches on 8 devices: take 16 or 32$"),
    ],
)
def test_a_batch_that_does_not_divide_names_those_that_do(batch, microbatches, told):
    with pytest.raises(UserError, match=f"batch_size {batch} does not divide {told}"):
        sharding.check_batch(batch, microbatches, EIGHT)


def test_a_batch_divides_by_its_microbatches_on_the_devices():
    sharding.check_batch(8, 1, EIGHT)
    sharding.check_batch(48, 3, EIGHT)


def test_unknown_ways_to_train_in_parallel_are_refused():
    assert sharding.parallel(params="sharded", seeds="map") == ("sharded", "map")
    with pytest.raises(UserError, match="parallel.params 'shared'.*sharded"):
        sharding.parallel(params="shared", seeds="map")
    with pytest.raises(UserError, match="parallel.seeds 'pmap'.*auto, map, vmap"):
        sharding.parallel(params="sharded", seeds="pmap")


def program_of(way, platform):
    program = seeds.one_program(lambda s, data, x: (s + data, s * x), way, platform)
    return str(jax.make_jaxpr(program)(*SMALL))


SMALL = (jax.numpy.arange(3.0), jax.numpy.float32(10), jax.numpy.ones((3, 2)))


def test_seeds_are_trained_one_after_the_other_on_a_cpu_and_at_once_elsewhere():
    assert "scan" in program_of("map", "gpu") and "scan" not in program_of("vmap", "cpu")
    assert "scan" in program_of("auto", "cpu") and "scan" not in program_of("auto", "tpu")


@pytest.mark.parametrize("way", ["map", "vmap"])
def test_each_seed_has_its_own_state_and_examples_and_all_share_the_data(way):
    program = seeds.one_program(lambda s, data, x: (s + data, s * x), way, "cpu")
    states, values = jax.jit(program)(*SMALL)
    assert states.tolist() == [10, 11, 12]
    assert values.tolist() == [[0, 0], [1, 1], [2, 2]]


def made(count, mesh, params, jit):
    parallel = sharding.Parallel(params, "auto")
    numbers = tuple(range(count))
    return seeds.several_seeds(numbers, lambda seed: {"a": seed}, None, mesh, parallel, jit)


@pytest.mark.parametrize("count,size,own", [(4, 8, False), (8, 8, True), (3, 1, False)])
def test_devices_have_seeds_of_their_own_where_these_divide(count, size, own, monkeypatch):
    compiled, mapped = [], {}
    mesh = AbstractMesh((size,), ("data",))
    monkeypatch.setattr(jax, "shard_map", lambda f, **options: mapped.update(options) or f)
    monkeypatch.setattr(seeds.compiler, "platform_of", lambda mesh: "cpu")
    monkeypatch.setattr(seeds.jax, "jit", lambda f, **options: compiled.append(options))

    def jit(function, mesh, **options):
        assert callable(function) and mesh.size == size
        compiled.append(options)

    found = made(count, mesh, "replicated", jit)
    by_seed = PartitionSpec("data") if own else PartitionSpec()
    init, steps, join = compiled
    assert {options["out_shardings"].spec for options in (init, steps, join)} == {by_seed}
    assert steps["donate_argnums"] == 0
    assert found.by_example.spec == (by_seed if own else PartitionSpec(None, None, "data"))
    assert mapped.get("in_specs") == ((by_seed, PartitionSpec(), by_seed) if own else None)
    assert found.template["a"].sharding.spec == PartitionSpec()


def test_sharded_parameters_are_for_one_seed():
    with pytest.raises(UserError, match="parallel.params 'sharded' is for one seed"):
        made(2, EIGHT, "sharded", None)


def test_one_seed_gives_its_state_away_at_every_step_and_splits_the_batch():
    compiled = []

    def jit(function, mesh, **options):
        compiled.append(options)
        return function

    parallel = sharding.Parallel("sharded", "auto")
    state = {"kernel": jax.ShapeDtypeStruct((8, 16), "float32")}
    found = sharding.one_seed(
        (7,),
        lambda seed: jax.tree.map(lambda s: jax.numpy.zeros(s.shape), state),
        len,
        EIGHT,
        parallel,
        jit,
    )
    init, steps = compiled
    split = PartitionSpec(None, "data")
    assert init["once"] and init["out_shardings"]["kernel"].spec == split
    states, metrics = steps["out_shardings"]
    assert steps["donate_argnums"] == 0 and states["kernel"].spec == split
    assert metrics.spec == PartitionSpec() and found.by_example.spec == split
    assert found.template["kernel"].shape == (8, 16)
    assert found.template["kernel"].sharding.spec == split
    assert found.split("state") == ["state"] and found.join(["state"]) == "state"
    assert found.stack_examples(["own"]) == "own" and found.numbers == (7,)
