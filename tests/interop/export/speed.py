"""Milliseconds for one image in onnxruntime and here: `python -m tests.interop.export.speed`."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import onnxruntime

from cnn_jax.interop.export import exported
from tests.interop.export import cases

NETWORKS = ("squeezenet", "alexnet", "resnet", "inception_v3")
ROUNDS = 30


def fastest(calls: list[Callable[[], object]]) -> list[float]:
    """The shortest time of each in milliseconds; they take turns, after two that do not count."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS + 2):
        for call, own in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            own.append(1000 * (time.perf_counter() - start))
    return [min(own[2:]) for own in times]


def main() -> None:
    """Prints a row for each network."""
    print("| network | onnxruntime | here |\n|---|---|---|")
    for name in NETWORKS:
        case = next(case for case in cases.WHOLE if case.family == name)
        network, images = cases.network(case)
        image = images[:1]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "network.onnx"
            exported.writer("onnx").write(network, file)
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        variables = jax.device_put(network.variables)
        apply = jax.jit(
            lambda variables, image, network=network: network.model.apply(
                variables, network.preprocessing(image), train=False
            )
        )

        def theirs(session=session, image=image):
            session.run(None, {"images": image})

        def ours(apply=apply, variables=variables, image=image):
            apply(variables, image).block_until_ready()

        found = fastest([theirs, ours])
        print(f"| {case} | {found[0]:.1f} | {found[1]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
