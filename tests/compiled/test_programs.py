"""What the compilers for GPUs and TPUs make of a training step, without the devices.

`python -m pytest -m compiled`; it needs the compilers, see docs/accelerators.md. Each family has a
small stand-in, in bfloat16.
"""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from cnn_jax.accelerators import hlo, targets, topologies
from tests.conftest import ROOT

pytestmark = pytest.mark.compiled
FAMILIES = ("cifar_resnet", "inception_v3", "resnet", "squeezenet", "vgg", "wide_resnet")
TARGETS = {  # of one device, and of four
    "gpu": ("gpu:h100:1", "gpu:h100:4"),
    "tpu": ("tpu:v5e:1x1", "tpu:v5e:2x2"),
}
# Bytes beside plain Flax's. In CIFAR networks XLA fuses Linen's batch norm, which has no groups,
# with more of what stands around it, and fewer kernels make up for that.
MOST_BYTES = dict.fromkeys(FAMILIES, 1.02) | {"cifar_resnet": 1.05, "wide_resnet": 1.05}
everywhere = pytest.mark.parametrize("platform", TARGETS)
of_all = pytest.mark.parametrize("family", FAMILIES)


class Program(NamedTuple):
    text: str
    sizes: dict[str, int]  # "state" arrays, "data" bytes, "params" numbers

    @property
    def instructions(self) -> list[tuple[hlo.Instruction, hlo.Computation]]:
        """All of them, those inside fusions too, each with its computation."""
        computations = hlo.parse(self.text).computations.values()
        return [(i, computation) for computation in computations for i in computation.values()]

    @property
    def collectives(self) -> list[hlo.Instruction]:
        """Those that move more than the metrics."""
        kinds = (*hlo.COLLECTIVES, *(f"{kind}-start" for kind in hlo.COLLECTIVES))
        found = [i for i, _ in self.instructions if i.opcode in kinds]
        return [i for i in found if i.size > 4 * 64]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """`compiled(family, target, way)`, each compiled once."""
    folder = tmp_path_factory.mktemp("compiled")

    @functools.cache
    def compiled(family: str, target: str, way: str) -> Program:
        file = folder / f"{family}-{way}-{target}".replace(":", "-")
        done = subprocess.run(
            [sys.executable, Path(__file__).parent / "stand_ins.py", family, target, way, file],
            env={**os.environ, **topologies.environment(targets.parse(target))},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        sizes = json.loads(done.stdout.splitlines()[-1])
        if "missing" in sizes:
            pytest.skip(sizes["missing"])
        return Program(file.read_text(), sizes)

    return compiled


@everywhere
@of_all
def test_convolutions_are_in_bfloat16(compiled, family, platform):
    program = compiled(family, TARGETS[platform][0], "ours")
    convolutions = [
        computation[operand].shape
        for i, computation in program.instructions
        if "__cudnn$conv" in i.attributes or re.search(r"dim_labels=b?01", i.attributes)
        for operand in i.operands[:2]
    ]
    assert convolutions
    assert not [shape for shape in convolutions if not shape.startswith("bf16")]


@everywhere
@of_all
def test_no_program_copies_the_data_set(compiled, family, platform):
    program = compiled(family, TARGETS[platform][0], "ours")
    made = [i for i, _ in program.instructions if i.opcode not in (*hlo.NO_WORK, *hlo.CALLS)]
    copies = [i for i in made if "u8[" in i.shape and i.size >= program.sizes["data"]]
    # S(1) is the memory of a TPU's cores, into which its compiler takes what is small.
    assert not [i for i in copies if "S(1)" not in i.shape]


@everywhere
@of_all
def test_the_state_is_updated_in_its_own_memory(compiled, family, platform):
    program = compiled(family, TARGETS[platform][0], "ours")
    aliases = re.search(r"input_output_alias=\{(.*?)\}, entry", program.text)[1]
    assert aliases.count("-alias)") == program.sizes["state"]


@of_all
def test_no_gradient_is_scattered_on_a_gpu(compiled, family):
    program = compiled(family, TARGETS["gpu"][0], "ours")
    assert not [i for i, _ in program.instructions if i.opcode == "scatter"]


@of_all
def test_a_gpu_runs_fewer_kernels_than_with_plain_flax_and_moves_hardly_more(compiled, family):
    ours, plain = (
        hlo.costs(compiled(family, TARGETS["gpu"][0], way).text) for way in ("ours", "plain")
    )
    assert ours.kernels <= plain.kernels
    assert ours.bytes <= MOST_BYTES[family] * plain.bytes


@of_all
def test_a_tpu_takes_at_most_2_percent_more_cycles_than_with_plain_flax(compiled, family):
    ours, plain = (compiled(family, TARGETS["tpu"][0], way) for way in ("ours", "plain"))
    assert hlo.costs(ours.text).cycles <= 1.02 * hlo.costs(plain.text).cycles


@everywhere
@pytest.mark.parametrize("family", ["resnet", "squeezenet"])
def test_gradients_are_summed_at_once_in_float32_and_batch_norm_moves_nothing(
    compiled, family, platform
):
    program = compiled(family, TARGETS[platform][1], "groups")
    assert [i.opcode.removesuffix("-start") for i in program.collectives] == ["all-reduce"]
    assert all(set(re.findall(r"[a-z]+\d+(?=\[)", i.shape)) == {"f32"} for i in program.collectives)
    assert sum(i.size for i in program.collectives) >= 4 * program.sizes["params"]


def test_gradients_of_sharded_parameters_are_scattered_where_they_are_summed_on_gpus(compiled):
    program = compiled("resnet", TARGETS["gpu"][1], "sharded")
    kinds = {i.opcode.removesuffix("-start") for i in program.collectives}
    assert kinds == {"all-gather", "reduce-scatter"}


def test_large_kernels_of_sharded_parameters_are_scattered_where_they_are_summed_on_tpus(compiled):
    program = compiled("resnet", TARGETS["tpu"][1], "sharded")
    computations = hlo.parse(program.text).computations.items()
    scattering = [c.values() for name, c in computations if name.startswith("all-reduce-scatter")]
    summed = " ".join(i.shape for c in scattering for i in c if i.opcode == "all-reduce")
    assert summed.count("f32[3,3,64,64]") == 2  # the kernels of both bottlenecks
