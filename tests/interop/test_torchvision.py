"""torchvision's networks and ours are the same functions of the same weights, both ways."""

import functools

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import launch
from cnn_jax import models
from cnn_jax.errors import UserError
from cnn_jax.interop import compare, convert, torchvision, weights
from cnn_jax.training import compiler

# Small images keep the test short; each network takes its own size too.
SIZES = {"inception_v3": 75, "alexnet": 63}
RATE = 0.01


def images_for(name, size=None, batch=2):
    size = size or SIZES.get(name, 64)
    return np.random.default_rng(0).standard_normal((batch, size, size, 3)).astype(np.float32)


def as_torch(torch, images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def relative(ours, theirs):
    return np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()


def narrow(name):
    """The option that leaves out most weights of AlexNet and VGG, which test nothing."""
    return {"fc_width": 64} if name.startswith(("alexnet", "vgg")) else {}


# Of the blocks and options of others, with other numbers of blocks and channels.
IMPLIED = {"resnet34", "resnet50", "resnet152", "resnext101_32x8d"}
IMPLIED |= {"wide_resnet50_2", "wide_resnet101_2", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn"}


@pytest.mark.parametrize("name", sorted(IMPLIED))
def test_every_array_of_torch_has_a_place_and_its_shape(name, hollow):
    shapes = {k: v.shape for k, v in hollow(name, **narrow(name)).state_dict().items()}
    state = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    variables = torchvision.to_flax(name, state, **narrow(name))
    back = torchvision.to_torch(name, variables, **narrow(name))
    assert {key: array.shape for key, array in back.items()} == shapes


def slow_if_implied(name):
    return pytest.param(name, marks=[pytest.mark.slow] if name in IMPLIED else [])


@pytest.mark.parametrize("name", [slow_if_implied(name) for name in torchvision.names()])
def test_logits_are_those_of_torch_and_the_way_back_gives_the_same_arrays(
    name, network, arrays, torch
):
    made, options = network(name, **narrow(name)).eval(), narrow(name)
    state = arrays(made)
    variables = torchvision.to_flax(name, state, **options)
    images = images_for(name)
    model = torchvision.module(name, 7, **options)
    ours = compiler.jit(lambda v, x: model.apply(v, x))(variables, images)
    with torch.no_grad():
        theirs = made(as_torch(torch, images)).numpy()
    assert relative(ours, theirs) < 1e-4
    back = torchvision.to_torch(name, variables, **options)
    assert back.keys() == state.keys()
    assert all((back[key] == state[key]).all() for key in state)


def torch_wide_resnet(torch, width=1):
    """WRN-10-k in PyTorch, with our names for its layers."""
    from tests.interop.sources.networks import WideUnit

    functional, nn = torch.nn.functional, torch.nn
    unit = functools.partial(WideUnit, shortcut="shortcut")

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
            self.conv2 = nn.ModuleDict({"block1": unit(16, 16 * width, 1)})
            self.conv3 = nn.ModuleDict({"block1": unit(16 * width, 32 * width, 2)})
            self.conv4 = nn.ModuleDict({"block1": unit(32 * width, 64 * width, 2)})
            self.bn, self.fc = nn.BatchNorm2d(64 * width), nn.Linear(64 * width, 7)

        def forward(self, x):
            x = self.conv1(x)
            for group in (self.conv2, self.conv3, self.conv4):
                x = group["block1"](x)
            return self.fc(functional.relu(self.bn(x)).mean((2, 3)))

    torch.manual_seed(0)
    return Network()


def wide_resnet_variables(state):
    """Our variables from the state dict of `torch_wide_resnet`."""
    kinds = {"running_mean": "mean", "running_var": "var"}
    flat = {}
    for key, value in state.items():
        *path, kind = key.split(".")
        if kind == "num_batches_tracked":
            continue
        collection = "batch_stats" if kind in kinds else "params"
        is_norm = path[-1].startswith("bn")
        name = kinds.get(kind, kind if kind == "bias" else "scale" if is_norm else "kernel")
        order = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim]
        flat[collection, *path, name] = value.transpose(order)
    return flax.traverse_util.unflatten_dict(flat)


def networks_for_a_step(name, network, torch):
    """The same network there and here, without dropout, the latter in float64; how to convert."""
    if name == "wide_resnet":
        made, to_variables = torch_wide_resnet(torch, width=2), wide_resnet_variables
        options = {"num_classes": 7, "depth": 10, "width": 2}
        model = models.create("wide_resnet", **options, dtype="float64")
    else:
        options = {} if name == "resnet18" else {"dropout": 0.0}
        options |= {"auxiliary_dropout": 0.0} if name == "googlenet" else {}
        options |= narrow(name)
        made = network(name, **narrow(name))
        if name == "inception_v3":  # whose auxiliary head needs images of 299
            options["auxiliary"] = "none"
            made.aux_logits, made.AuxLogits = False, None
        model = torchvision.module(name, 7, **options, dtype="float64")
        changes = narrow(name)

        def to_variables(state):
            return torchvision.to_flax(name, state, **changes)

    for part in made.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return made.double().train(), model, to_variables


def step_of_torch(torch, made, images, labels):
    """Its logits; the network is changed by a step of SGD with a rate of `RATE`."""
    optimizer = torch.optim.SGD(made.parameters(), RATE)
    output = made(as_torch(torch, images))
    logits = getattr(output, "logits", output)
    torch.nn.functional.cross_entropy(logits, torch.tensor(labels)).backward()
    optimizer.step()
    return logits.detach().numpy()


# Their layers are those of the others; test_finetune.py has a step of a ResNet.
SLOW = ("googlenet", "inception_v3", "resnet18")


@pytest.mark.parametrize(
    "name",
    [
        *("wide_resnet", "squeezenet1_1", "vgg11_bn"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW),
    ],
)
def test_a_step_in_training_mode_gives_logits_statistics_and_parameters_of_torch(
    name, network, arrays, torch
):
    """In float64 on both sides: gradients of deep networks in float32 differ by machine."""
    made, model, to_variables = networks_for_a_step(name, network, torch)
    size = {"wide_resnet": 16}.get(name)
    images = images_for(name, size, batch=4).astype(np.float64)
    labels = [1, 0, 6, 3]
    with jax.enable_x64(True):
        before = to_variables(arrays(made))

        def loss(params):
            logits, updates = model.apply(
                {**before, "params": params}, images, True, mutable=["batch_stats", "aux_logits"]
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.array(labels))
            return losses.mean(), (logits, updates.get("batch_stats", {}))

        step = compiler.jit(jax.grad(loss, has_aux=True), once=True)
        if name == "googlenet":  # whose layers are those of the others: no second long compilation
            step = compiler.jit(lambda params: (None, loss(params)[1]), once=True)
        gradients, (logits, statistics) = jax.tree.map(np.asarray, step(before["params"]))
    theirs = step_of_torch(torch, made, images, labels)
    assert logits.dtype == np.float64 and relative(logits, theirs) < 1e-9
    after = to_variables(arrays(made))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
    jax.tree.map(close, statistics, after.get("batch_stats", {}))
    if gradients is None:
        return
    params = jax.tree.map(lambda p, g: p - RATE * g, before["params"], gradients)
    jax.tree.map(close, params, after["params"])
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after["params"], before["params"])
    assert max(jax.tree.leaves(moved)) > 1e-3, "too small a step to tell anything"


def test_a_scanned_stage_is_converted_unit_by_unit(network, arrays):
    state = arrays(network("resnet101"))
    scanned = torchvision.to_flax("resnet101", state)["params"]["conv4"]["blocks"]
    unrolled = torchvision.to_flax("resnet101", state, unroll=True)["params"]["conv4"]
    assert scanned["conv2"]["kernel"].shape[0] == 22
    assert (scanned["conv2"]["kernel"][5] == unrolled["block7"]["conv2"]["kernel"]).all()


def test_timm_names_of_vgg_are_understood(network, arrays):
    state = arrays(network("vgg11", fc_width=64))
    timm, renamed = {}, {0: ("pre_logits.fc1", 7), 3: ("pre_logits.fc2", 1), 6: ("head.fc", None)}
    for key, value in state.items():
        if key.startswith("classifier."):
            _, number, kind = key.split(".")
            layer, side = renamed[int(number)]
            key = f"{layer}.{kind}"
            if side and value.ndim == 2:
                value = value.reshape(len(value), -1, side, side)
        timm[key] = value
    expected, found = (torchvision.to_flax("vgg11", s, fc_width=64) for s in (state, timm))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_googlenet_without_auxiliary_heads_is_converted(network, arrays):
    state = {k: v for k, v in arrays(network("googlenet")).items() if not k.startswith("aux")}
    variables = torchvision.to_flax("googlenet", state)
    assert not any(key.startswith("aux") for key in variables["params"])
    assert torchvision.to_torch("googlenet", variables).keys() == state.keys()


def test_wrong_missing_and_unknown_keys_are_named(network, arrays):
    state = arrays(network("resnet18"))
    del state["layer1.0.conv1.weight"]
    state["conv1.weight"] = state["conv1.weight"][:, :2]
    message = r"has conv1.weight \[64, 2, 7, 7\], not .*; it lacks layer1.0.conv1.weight"
    with pytest.raises(UserError, match=message):
        torchvision.to_flax("resnet18", state)
    with pytest.raises(UserError, match=r"not weights of .*: it has no place for layer9.weight"):
        torchvision.to_flax("resnet18", state | {"layer9.weight": np.zeros(3)})


def test_variables_of_another_network_are_refused(network, arrays):
    variables = torchvision.to_flax("resnet18", arrays(network("resnet18")))
    with pytest.raises(UserError, match="not variables of resnet34: it lacks .*block3"):
        torchvision.to_torch("resnet34", variables)


def test_an_unknown_name_is_refused():
    with pytest.raises(UserError, match="did you mean 'resnet50'"):
        torchvision.module("resnet-50")


def test_the_first_layer_that_diverges_is_found(network, arrays):
    made = network("squeezenet1_1").eval()
    state = arrays(made)
    rows = compare.layer_differences("squeezenet1_1", state, images_for("squeezenet1_1"))
    assert len(rows) == 26 and max(row.relative for row in rows) < 1e-4
    assert (rows[0].layer, rows[0].torch_layer) == ("conv1", "features.0")


def test_the_command_line_converts_and_compares(network, arrays, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    convert.write_state_dict(source, arrays(network("squeezenet1_1").eval()))
    arguments = ["convert", "squeezenet1_1", str(source), f"--out={target}", "--check"]
    assert launch.main(arguments) == 0
    out = capsys.readouterr().out
    assert "fire9/expand3x3" in out and "differs by more than 1e-4 (relative): none" in out
    assert weights.load(target)["params"]["conv1"]["kernel"].shape == (3, 3, 3, 64)
    assert launch.main(["convert", "resnet18", str(source), f"--out={target}"]) == 1
    assert "these are weights of torchvision's squeezenet (version=1.1" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_are_converted_there_and_back(suffix, network, arrays, tmp_path, torch):
    state = arrays(network("squeezenet1_1"))
    first, flax_file, last = (tmp_path / f for f in ("a" + suffix, "b.safetensors", "c" + suffix))
    convert.write_state_dict(first, state)
    convert.convert("squeezenet1_1", first, flax_file)
    expected = torchvision.to_flax("squeezenet1_1", state)
    jax.tree.map(np.testing.assert_array_equal, weights.load(flax_file), expected)
    convert.convert("squeezenet1_1", flax_file, last)
    back = torchvision.read(last)
    assert all((back[key] == state[key]).all() for key in state)
