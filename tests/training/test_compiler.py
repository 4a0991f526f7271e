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


def test_words_and_determinism_are_these_options():
    bytes_at_once = ("all_reduce", "all_gather", "reduce_scatter")
    graphs = "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,WHILE"
    assert {word: list(options.values()) for word, options in compiler.WORDS.items()} == {
        "latency_hiding": [True],
        "large_collectives": 3 * [268_435_456],
        "no_triton_gemm": [False],
        "no_command_buffers": [""],
        "whole_command_buffers": [graphs, 1],
        "double_buffering": [True],
    }
    assert list(compiler.WORDS["large_collectives"]) == [
        f"xla_gpu_{name}_combine_threshold_bytes" for name in bytes_at_once
    ]
    assert set(compiler.DETERMINISTIC.values()) == {True} and len(compiler.DETERMINISTIC) == 2


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


def test_options_for_cpus_keep_barriers_use_eigen_and_are_fast_for_what_runs_once():
    compiler.supported.cache_clear()
    assert compiler.supported("cpu", once=False) == {
        "xla_disable_hlo_passes": "cse_barrier_expander",
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
    }
    assert compiler.supported("cpu", once=True) == {"xla_backend_optimization_level": 0}
    assert compiler.supported("gpu", once=True) == compiler.supported("tpu", once=False) == {}


def test_options_for_gpus_are_those_of_docs_running(monkeypatch):
    platform_is("gpu", monkeypatch)
    sizes = create("large_collectives").options(sharding.data_mesh()).values()
    assert set(sizes) == {256 * 2**20}
    assert create("double_buffering,no_triton_gemm,latency_hiding").words == (
        "double_buffering",
        "no_triton_gemm",
        "latency_hiding",
    )
    values = {word: list(options.values()) for word, options in compiler.WORDS.items()}
    assert values["latency_hiding"] == values["double_buffering"] == [True]
    assert values["no_triton_gemm"] == [False] and values["no_command_buffers"] == [""]
    assert values["whole_command_buffers"][1] == 1
    assert list(compiler.DETERMINISTIC.values()) == [True, True]


@pytest.mark.parametrize(
    "text,value", [("TRUE", True), ("False", False), ("0", "0"), ("a=b", "a=b")]
)
def test_true_and_false_are_read_and_the_rest_is_left_to_xla(text, value, monkeypatch):
    monkeypatch.setattr(compiler, "check_options", lambda options, mesh: None)
    options = create(f"xla_x={text}").options(sharding.data_mesh())
    assert options["xla_x"] == value


@pytest.mark.parametrize("options", ["xla_x", "x=1", "latency_hiding=true"])
def test_what_is_neither_a_word_nor_an_option_of_xla_is_refused(options):
    with pytest.raises(UserError, match="compiler.options"):
        create(options)
    assert create(",").words == ()


def test_an_unknown_precision_is_refused():
    with pytest.raises(UserError, match="precision.matmul 'float16'.*bfloat16"):
        compiler.precision(matmul="float16")


def test_errors_of_a_step_that_are_no_transfer_stay_what_they_are():
    with pytest.raises(ZeroDivisionError), compiler.Guards() as guards, guards.dispatch(0, 1, 0):
        raise ZeroDivisionError


def test_only_a_known_size_that_compiles_is_told(recwarn):
    event = compiler.COMPILED
    with compiler.Guards() as guards:
        for size, compiles in [(5, True), (5, False), (4, True), (4, False)]:
            with guards.dispatch(10, size, 0):
                if compiles:
                    jax.monitoring.record_event_duration_secs(event, 1.0)
        assert not recwarn.list
        with guards.dispatch(1234, 4, 0):
            jax.monitoring.record_event_duration_secs("/jax/other", 1.0)
        assert not recwarn.list
        with guards.dispatch(1234, 4, 0):
            jax.monitoring.record_event_duration_secs(event, 1.0)
    (told,) = recwarn.list
    assert "compiled again at step 1,234: the program of 4 steps" in str(told.message)


def test_what_no_config_describes_has_no_options_and_no_precision_of_its_own():
    assert (compiler.jit.words, compiler.jit.deterministic) == ((), False)
    assert compiler.jit.with_precision("function") == "function"


def test_options_that_a_jaxlib_does_not_know_are_left_out(monkeypatch):
    options = {"xla_of_next_year": 1, "xla_backend_optimization_level": 0}
    monkeypatch.setattr(compiler, "CPU_STEP", options)
    compiler.supported.cache_clear()
    assert compiler.supported("cpu", once=False) == {"xla_backend_optimization_level": 0}
    assert compiler.supported("gpu", once=False) == {}
    compiler.supported.cache_clear()
