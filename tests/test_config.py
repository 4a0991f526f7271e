"""Configs are found, changed and checked; a mistake is told in a line that lists what is right."""

import pytest

import cnn_jax
from cnn_jax import config as configs
from cnn_jax import data
from cnn_jax.errors import UserError
from tests.conftest import ROOT

QUICKSTART = str(ROOT / "experiments/quickstart.py")
CIFAR10 = str(ROOT / "experiments/resnet/cifar10.py")
EXPERIMENTS = [
    file
    for file in sorted((ROOT / "experiments").rglob("*.py"))
    if "get_config" in file.read_text()
]


@pytest.mark.parametrize(
    "override,field,value",
    [
        ("model.width=4", "model.width", 4),
        ("learning_rate.rate=1", "learning_rate.rate", 1.0),
        ("model.dropout=3e-1", "model.dropout", 0.3),
        ("augmentation.flip=true", "augmentation.flip", True),
        ("data.name=folder", "data.name", "folder"),
        ("data.path=some/where", "data.path", "some/where"),
        ("data.path=2024", "data.path", "2024"),
        ("data.image_size=32", "data.image_size", 32),
        ("training.duration=5 epochs", "training.duration", "5 epochs"),
        ("evaluation.splits=['test']", "evaluation.splits", ["test"]),
        ("model.bn_group_size=32", "model.bn_group_size", 32),
        ("data.path=None", "data.path", None),
        ("augmentation.flip=yes", "augmentation.flip", True),
        ("augmentation.flip=Off", "augmentation.flip", False),
        ("model.bn_group_size=none", "model.bn_group_size", None),
        ("preprocessing.whitening=none", "preprocessing.whitening", "none"),
    ],
)
def test_an_override_sets_a_field_in_its_own_type(override, field, value):
    config = configs.flatten(cnn_jax.load_config(QUICKSTART, [override]).to_dict())
    assert config[field] == value and type(config[field]) is type(value)


@pytest.mark.parametrize(
    "override,message",
    [
        ("model.widht=4", "unknown config field 'model.widht' .did you mean 'model.width'..$"),
        ("widht=4", "unknown config field 'widht'"),
        ("model=4", "unknown config field 'model'"),
        ("model.width=wide", "model.width takes a whole number, not 'wide'$"),
        ("model.width", "write field=value"),
        ("model.width=None", "model.width takes a whole number, not 'None'$"),
        ("data.image_size=big", "data.image_size takes a whole number or None, not 'big'$"),
        ("model.width=2.5", "model.width takes a whole number, not '2.5'$"),
        ("model.width=true", "model.width takes a whole number, not 'true'$"),
        ("learning_rate.rate=yes", "learning_rate.rate takes a number, not 'yes'$"),
        ("augmentation.flip=2", "augmentation.flip takes true or false, not '2'$"),
        ("evaluation.splits=test", "splits takes a list such as .\\['a', 'b'\\]., not 'test'$"),
        ("lr=0.1", "unknown config field 'lr' .did you mean 'learning_rate.rate'..$"),
        (f"model.width={'(' * 5000}", "model.width takes a whole number"),
        ("colour.brightness=0.4", "'colour.brightness' .did you mean 'color.brightness'"),
        ("preprocessing.deviation=none", "did you mean 'preprocessing.std'.*renamed"),
        ("model.name=resnext", "unknown network 'resnext'.*choose from: .*wide_resnet"),
    ],
)
def test_a_wrong_override_is_told(override, message):
    with pytest.raises(UserError, match=message) as caught:
        cnn_jax.load_config(QUICKSTART, [override])
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


def test_another_network_starts_from_its_own_defaults():
    config = cnn_jax.load_config(QUICKSTART, ["model.depth=32", "model.name=cifar_resnet"])
    assert config.model.name == "cifar_resnet" and config.model.depth == 32
    assert config.model.residual is True and "width" not in config.model


def test_what_may_be_none_takes_it_back_and_keeps_its_type():
    fields = ["model.bn_group_size=None", "data.path=None", "data.path=2024"]
    config = cnn_jax.load_config(CIFAR10, fields)
    assert config.model.bn_group_size is None and config.data.path == "2024"


def test_another_data_set_leaves_the_files_of_the_recipes_own_behind():
    assert cnn_jax.load_config(CIFAR10, ["data.name=digits"]).data.path is None
    assert cnn_jax.load_config(CIFAR10, ["data.name=cifar10"]).data.path == "data/cifar10"
    given = ["data.path=here", "data.name=cifar100"]
    assert cnn_jax.load_config(CIFAR10, given).data.path == "here"


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda f: f"{f.parent.name}-{f.stem}")
def test_fake_images_take_the_place_of_any_recipes_data_by_one_flag(file):
    variant = "paper_images" if file.parent.name == "inception_v3" else ""
    config = cnn_jax.load_config(f"{file}:{variant}", ["data.name=fake:40000,10"])
    dataset = configs.call(data.open, "data", config.data)
    view = config.view.train.to_dict()
    side = view.get("size", 32)
    assert data.image_shape(dataset, view) == (side, side, 3)
    assert len(dataset.class_names) == 10 and {"train", "test"} <= set(dataset.splits)


def test_every_option_of_the_network_stands_in_the_config():
    assert cnn_jax.load_config(QUICKSTART).model.unroll is False


def test_a_config_is_locked():
    with pytest.raises(AttributeError):
        cnn_jax.load_config(QUICKSTART).model.layers = 3


def test_a_variant_is_words_of_different_groups():
    config = cnn_jax.load_config(f"{CIFAR10}:plain,56,fast")
    assert (config.model.depth, config.model.residual) == (56, False)
    assert config.training.duration == "10 epochs"


@pytest.mark.parametrize(
    "variant,message",
    [("57", "unknown variant '57'.*20, 32, 44"), ("20,56", "'20' and '56' exclude each other")],
)
def test_a_wrong_variant_is_told(variant, message):
    with pytest.raises(UserError, match=message):
        cnn_jax.load_config(f"{CIFAR10}:{variant}")


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda f: f.stem)
def test_every_variant_of_every_experiment_loads_and_states_its_command(file):
    module = configs.load_experiment(file)
    assert "Command    python launch.py" in module.__doc__
    for words in module.VARIANTS.values():
        for word in words:
            cnn_jax.load_config(f"{file}:{word}")


def test_a_missing_experiment_file_is_told(tmp_path):
    with pytest.raises(UserError, match="no experiment file .*launch.py list"):
        cnn_jax.load_config(str(tmp_path / "x.py"))


def test_a_mistake_in_an_experiment_file_is_told_with_its_line(tmp_path):
    (tmp_path / "x.py").write_text("a = 1\nb = a.c\n")
    with pytest.raises(UserError, match="x.py, line 2: AttributeError: 'int' .* .--debug shows"):
        cnn_jax.load_config(str(tmp_path / "x.py"))


def test_a_mistake_in_a_file_that_an_experiment_imports_is_told_with_a_line(
    tmp_path,
):
    (tmp_path / "x.py").write_text("a = 1\n\nfrom . import y\n")
    (tmp_path / "y.py").write_text("b = a.c\n")
    with pytest.raises(UserError, match="y.py, line 1: NameError"):
        cnn_jax.load_config(str(tmp_path / "x.py"))
    (tmp_path / "y.py").write_text("import ast\n\nast.literal_eval('(')\n")
    with pytest.raises(UserError, match="y.py, line 3: SyntaxError"):
        cnn_jax.load_config(str(tmp_path / "x.py"))
    (tmp_path / "y.py").write_text("\nb = (\n")
    with pytest.raises(UserError, match="y.py, line 2: SyntaxError"):
        cnn_jax.load_config(str(tmp_path / "x.py"))


@pytest.mark.parametrize(
    "line,message",
    [
        ("return groups.momentum(nesterv=True)", "line 4: TypeError: momentum.* 'nesterv'"),
        ("return confg", "line 4: NameError: name 'confg' is not defined"),
        ("return quickstart.get_config().model.widht", "line 4: AttributeError: .*widht"),
        ("raise KeyError", "line 4: KeyError"),
        ("return groups.scale_crop(224, 5)", "line 4: TypeError"),
        ("return {'model': 1}", "get_config gives no ConfigDict that has model.name"),
        ("return quickstart.ConfigDict({'seed': 1})", "gives no ConfigDict that has model.name"),
    ],
)
def test_a_mistake_in_get_config_is_told_in_a_line_with_the_users_file_and_line(
    line, message, tmp_path
):
    text = "from cnn_jax.experiments import groups, quickstart\n\ndef get_config(variant):\n    "
    (tmp_path / "own.py").write_text(text + line + "\n")
    with pytest.raises(UserError, match=f"^{tmp_path}/own.py.*{message}") as caught:
        cnn_jax.load_config(str(tmp_path / "own.py"))
    assert "\n" not in str(caught.value)


def test_an_experiment_of_version_0_1_is_told_the_new_name_of_a_field(tmp_path):
    text = "from cnn_jax.experiments import quickstart\nVARIANTS = {}\n"
    text += "def get_config(variant):\n    config = quickstart.get_config()\n"
    text += "    config.colour = {'hue': 0.1}\n    return config\n"
    (tmp_path / "old.py").write_text(text)
    with pytest.raises(UserError, match="old.py: the config field colour.hue is called color.hue"):
        cnn_jax.load_config(str(tmp_path / "old.py"))


def test_a_field_too_many_or_too_few_in_a_group_is_told():
    def function(*, rate, momentum, size):
        return rate, momentum, size

    group = configs.ConfigDict({"rate": 1, "momentun": 2})
    with pytest.raises(UserError, match="config.optimizer 'momentun' .did you mean 'momentum'"):
        configs.call(function, "optimizer", group, size=3)
    with pytest.raises(UserError, match="config.optimizer lacks the field 'momentum'"):
        configs.call(function, "optimizer", configs.ConfigDict({"rate": 1}), size=3)


def test_a_field_that_a_group_lacks_is_told_also_where_a_choice_decides_on_the_others():
    def function(*, name, rate, **options):
        return name, rate, options

    group = configs.ConfigDict({"name": "momentum", "nesterov": True})
    with pytest.raises(UserError, match="config.optimizer lacks the field 'rate'"):
        configs.call(function, "optimizer", group)
    assert configs.call(function, "optimizer", group, rate=1)[2] == {"nesterov": True}


def test_the_difference_of_two_configs_is_told_field_by_field():
    old, new = (cnn_jax.load_config(QUICKSTART, [f"seed={seed}"]) for seed in (0, 1))
    assert configs.difference(old, new) == ["seed: 0 there, 1 here"]
