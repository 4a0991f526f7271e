"""What bench measures: every number is there, and belongs to the work that it names."""

import copy
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnn_jax
from cnn_jax.accelerators import targets
from cnn_jax.bench import benchmark, fake, measure, programs
from cnn_jax.errors import UserError
from cnn_jax.training import compiler
from cnn_jax.training.build import build
from tests.conftest import DENSE, ROOT, TINY

OPTIONS = benchmark.Options(
    count=2,
    rounds=2,
    inference=False,
    is_fake=False,
    image=None,
    classes=None,
    kinds=(),
    least_seconds=0.0,
)


def config_of(*overrides):
    return cnn_jax.load_config(str(ROOT / "experiments/quickstart.py"), overrides)


@pytest.fixture(scope="module")
def trained():
    return benchmark.run(config_of(*DENSE, "training.batch_size=8"), OPTIONS)


def test_training_has_step_loop_and_data_with_a_rate_for_each_round(trained):
    assert list(trained["images_per_second"]) == ["step", "loop", "data"]
    assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in trained["rounds"].values())
    assert set(trained["ratios"]) == {"loop / step", "data / step"}


def test_the_data_path_has_every_image_and_label_and_no_network():
    config = config_of(*TINY, "training.batch_size=8", "augmentation.crop_padding=0")
    setup = build(config)
    stored, checksum = setup.inputs.data, programs.make_checksum(config)
    indices = jnp.arange(16).reshape(2, 8)
    batch = stored.batch(indices.ravel())
    expected = batch.images.sum() + batch.labels.sum()
    np.testing.assert_allclose(checksum(stored, indices), expected, rtol=1e-4)
    data = jax.jit(checksum).trace(stored, indices)
    loop = setup.seeds.train_steps.trace(setup.seeds.template, stored, indices)
    has_network = ["conv_general_dilated" in str(traced.jaxpr) for traced in (data, loop)]
    assert has_network == [False, True]


def test_training_counts_three_times_the_multiply_adds_of_a_forward_pass(trained):
    each = trained["multiply_adds_per_second"] / trained["images_per_second"]["loop"]
    assert each == pytest.approx(3 * trained["network"]["multiply_adds_per_image"])


def test_memory_holds_at_least_the_parameters_and_the_data(trained):
    images = 1257 * 64
    parameters = 4 * trained["network"]["parameters"]
    assert trained["memory_bytes"]["arguments"] > images + 2 * parameters
    assert trained["memory_bytes"]["peak"] >= trained["memory_bytes"]["temporary"] > 0


def test_a_cpu_has_no_known_peak(trained):
    assert trained["fraction_of_peak"] is trained["fraction_of_bandwidth"] is None
    assert trained["bytes_per_second"] > 0


def test_inference_on_random_images_reads_no_data():
    config = config_of(*DENSE, "training.batch_size=4")
    options = OPTIONS._replace(inference=True, is_fake=True, image="16x16x3", count=1, rounds=1)
    result = benchmark.run(config, options)
    assert list(result["images_per_second"]) == ["forward"]
    assert result["image_shape"] == [16, 16, 3] and result["classes"] == 10
    assert result["data"] == "random" and result["batch_size"] == 4


@pytest.fixture(scope="module")
def against_torch():
    """With a network of PyTorch that is none of ours, and no compiler for it."""
    torch = pytest.importorskip("torch")
    from cnn_jax.bench import torch_networks

    def no_compiler(network):
        raise RuntimeError("no g++ here")

    tiny = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    kinds = ("torch-eager", "torch-bf16", "torch-compile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_networks, "create", lambda *_: copy.deepcopy(tiny))
        patch.setattr(torch, "compile", lambda network: lambda x: no_compiler(network))
        config = config_of(*DENSE, "training.batch_size=8")
        return benchmark.run(config, OPTIONS._replace(kinds=kinds))


def test_torch_is_measured_in_turns_with_ours(against_torch):
    medians = against_torch["images_per_second"]
    expected = medians["step"] / medians["torch-eager"]
    assert against_torch["ratios"]["step / torch-eager"] == expected
    assert len(against_torch["rounds"]["torch-bf16"]) == 2


def test_a_torch_compile_that_fails_is_skipped_with_the_reason(against_torch):
    assert "no g++ here" in against_torch["skipped"]["torch-compile"]
    assert "torch-compile" not in against_torch["images_per_second"]


def test_a_folder_needs_the_size_of_its_random_images():
    with pytest.raises(UserError, match="--image=HxWxC and --classes=N"):
        fake.shape_of(config_of("data.name=folder"), None, None)


def test_random_data_is_at_least_two_batches():
    dataset = fake.dataset((224, 224, 3), 1000, 256)
    assert len(dataset.splits["train"].labels) == 512


def test_ways_take_turns_and_are_repeated_until_they_took_long_enough(monkeypatch):
    order, clock = [], [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])

    def way(name, seconds):
        def start():
            order.append(name[0])
            clock[0] += seconds

        return measure.Way(start, lambda: None, 10)

    rates = measure.alternate({"slow": way("slow", 0.25), "quick": way("quick", 0.03125)}, 2, 0.1)
    # Each is run twice at first, as a warm-up and to be timed.
    assert "".join(order) == "ss" + "qq" + "sqqqq" * 2
    assert rates == {"slow": [40, 40], "quick": [320, 320]}


def test_a_program_compiled_ahead_is_not_compiled_again():
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(event) if "backend_compile" in event else None
    )
    program = compiler.jit(lambda x: jnp.sin(x) * 12345.0)
    x = jnp.ones(7)
    seconds, memory, traffic = programs.compile_ahead(program, x)
    assert traffic == 2 * x.nbytes * jax.device_count()  # read and written
    assert compiled and seconds["compiling"] > 0 and memory["outputs"] == 28
    compiled.clear()
    program(x)
    assert not compiled


def test_the_share_of_the_peak_counts_two_operations_for_a_multiply_add(monkeypatch):
    monkeypatch.setattr(benchmark, "peak", lambda kind, dtype: 1000.0)
    found = benchmark.arithmetic("float32", 5.0, 10)
    assert math.isclose(found["fraction_of_peak"], 0.1 / jax.device_count())


def test_the_share_of_the_bandwidth_is_that_of_all_devices(monkeypatch):
    chip = targets.of_kind("NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(benchmark, "of_kind", lambda kind: chip)
    found = benchmark.bandwidth(images_per_second=1000.0, image_traffic=3.35e8)
    assert math.isclose(found["fraction_of_bandwidth"], 0.1 / jax.device_count())
