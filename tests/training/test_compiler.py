"""What the group `compiler` asks for reaches XLA, and what XLA does not know is named."""

import jax
import pytest

from cnn_jax.errors import UserError
from cnn_jax.training import compiler, sharding

PLAIN = compiler.precision(matmul="default")


def create(options="", deterministic=False):
    return compiler.create(options=options, deterministic=deterministic, with_precision=PLAIN)


def platform_is(platform, monkeypatch):
    """The devices of every mesh pass for those of another platform."""
    monkeypatch.setattr(compiler, "platform_of", lambda mesh: platform)


@pytest.mark.parametrize("word", compiler.WORDS)
def test_every_word_is_made_of_options_that_xla_takes(word, monkeypatch):
    platform_is("gpu", monkeypatch)  # a CPU's XLA reads the options for GPUs, and ignores them
    assert create(word).options(sharding.data_mesh()) == compiler.WORDS[word]


def test_determinism_is_a_matter_of_gpus(monkeypatch):
    mesh = sharding.data_mesh()
    assert create(deterministic=True).options(mesh) == create().options(mesh)
    platform_is("gpu", monkeypatch)
    options = create("latency_hiding", deterministic=True).options(mesh)
    assert set(compiler.DETERMINISTIC) < set(options) and create().options(mesh) == {}


def test_words_do_nothing_on_other_platforms():
    mesh = sharding.data_mesh()
    assert create(",".join(compiler.WORDS)).options(mesh) == create().options(mesh)


def test_options_of_xla_may_be_given_themselves():
    options = create("xla_gpu_autotune_level=0,xla_cpu_enable_fast_math=false").options(
        sharding.data_mesh()
    )
    assert options["xla_gpu_autotune_level"] == "0"
    assert options["xla_cpu_enable_fast_math"] is False


def test_a_program_is_compiled_with_them():
    program = create("xla_cpu_enable_fast_math=true")(lambda x: x + 1, sharding.data_mesh())
    assert float(program(1.0)) == 2.0


def test_an_unknown_word_lists_the_known_ones():
    with pytest.raises(UserError, match="latency_hiden.*did you mean 'latency_hiding'"):
        create("latency_hiden")


@pytest.mark.parametrize(
    "option,reason",
    [
        ("xla_gpu_autotune=1", "No such compile option: 'xla_gpu_autotune'"),
        ("xla_gpu_autotune_level=low", "'low' is not a valid int32 value"),
    ],
)
def test_an_option_that_xla_does_not_take_is_named_in_one_line(option, reason):
    with pytest.raises(UserError, match=f"compiler.options: XLA for cpu says: .*{reason}"):
        create(option).options(sharding.data_mesh())


def test_a_program_is_called_as_its_function():
    def train_steps(x):
        return x + 1

    program = create()(train_steps, sharding.data_mesh())
    assert "jit_train_steps" in program.lower(jax.ShapeDtypeStruct((), "float32")).as_text()
