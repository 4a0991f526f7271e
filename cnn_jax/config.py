"""Experiment configs: found by file and variant, changed from the command line, checked, compared.

A config is the recipe of a paper as a locked `ConfigDict`. Each of its groups becomes the keyword
arguments of one function (`call`), so that a misspelt or missing field is an error that lists the
right ones. `cnn_jax` has no defaults behind it: `config.json` of a run tells everything.
"""

import ast
import contextlib
import functools
import importlib.util
import inspect
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from cnn_jax import errors, models, old_names
from cnn_jax.errors import UserError

PACKAGE = Path(__file__).parent
# The folder that has experiments/: the package itself where it is installed, else the checkout.
HOME = PACKAGE if (PACKAGE / "experiments").is_dir() else PACKAGE.parent
EXPERIMENTS = "cnn_jax.experiments"  # what its files are called as modules, in both cases
FILES = ("path", "class_list", "exclude")  # the fields of the group `data` that name files
# What may be None wherever it stands, besides the options of networks that are None by default.
OPTIONAL = (*(f"data.{name}" for name in (*FILES, "image_size")), "optimizer.clip_norm")
OPTIONAL += ("init.weights", "optimizer.freeze_until", "logging.wandb", "logging.mlflow")
BOOLS = dict.fromkeys(("true", "yes", "on", "1"), True)
BOOLS |= dict.fromkeys(("false", "no", "off", "0"), False)
AUTOMATIC = ("training.steps_per_dispatch",)  # numbers that may be the word "auto"


def load_config(file_and_variant: str, overrides: Iterable[str] = ()) -> ConfigDict:
    """The locked config that `launch.py --config=FILE[:variant] --config.field=value` uses.

    Args:
      file_and_variant: `experiments/resnet/cifar10.py` or, with a variant, `...cifar10.py:56,fast`.
        The experiments that come with cnn_jax are found from any working directory.
      overrides: `field=value` each, such as `model.depth=32` or `data.path=cifar10`. Another
        `model.name` takes the options of the model from that family's defaults; another `data.name`
        leaves the files of the recipe's own data behind.

    Raises:
      UserError: no such file, variant or field, or a value of the wrong type.
    """
    path, variant = find_experiment(file_and_variant)
    config = recipe(path, variant)
    for field in field_names(config):
        if new := new_name(field):
            raise UserError(f"{path}: the config field {field} is called {new} now", 2)
    pairs = [split_override(override) for override in overrides]
    for field, text in pairs:
        if field == "model.name" and text != config.model.name:
            config.model = ConfigDict({"name": text})
        if field == "data.name" and "data" in config and text != config.data.name:
            for file in (file for file in FILES if file in config.data):
                config.data[file] = placeholder(str)
    name = config.model.name
    config.model = ConfigDict({"name": name, **model_options(name)} | config.model.to_dict())
    config.lock()
    for field, text in pairs:
        if field != "model.name":
            override_field(config, field, text)
    return config


def recipe(path: Path, variant: str) -> ConfigDict:
    """What an experiment file gives for a variant; raises `UserError` where that is no recipe."""
    module = load_experiment(path)
    with in_one_line(module.__name__, path):
        config = module.get_config(variant)
    if not (isinstance(config, ConfigDict) and "model" in config and "name" in config.model):
        raise UserError(f"{path}: get_config gives no ConfigDict that has model.name", 2)
    return config


def model_options(name: str) -> dict[str, Any]:
    """The options of a network; one that is None keeps the type that it may have."""
    types = models.option_types(name)
    return {
        option: placeholder(types[option]) if default is None else default
        for option, default in models.options(name).items()
    }


def find_experiment(file_and_variant: str) -> tuple[Path, str]:
    """The file of `FILE[:variant]`, from here or below `HOME`, and the variant."""
    file, _, variant = file_and_variant.partition(".py:")
    path = Path(file if file.endswith(".py") else f"{file}.py")
    is_ours = not path.is_file() and (HOME / path).is_file()
    return HOME / path if is_ours else path, variant


def load_experiment(path: Path) -> ModuleType:
    """Runs an experiment file: `get_config(variant)`, and `VARIANTS` for the list of them."""
    module = load_module(path)
    if not hasattr(module, "get_config"):
        raise UserError(f"{path} is no experiment: it has no function get_config(variant)", 2)
    return module


def load_module(path: Path) -> ModuleType:
    """Runs a Python file, anew at each call; it may import its neighbors: `from . import groups`.

    Ours are modules of the package `cnn_jax.experiments`, which any other experiment can import
    from too. Neither `sys.path` nor a package `experiments` of the caller's matters or changes.
    """
    if not path.is_file():
        from cnn_jax import hints

        raise UserError(f"no experiment file {path}; {hints.experiment_like(path, HOME)}", 2)
    spec = importlib.util.spec_from_file_location(module_name(path.resolve()), path)
    module = importlib.util.module_from_spec(spec)
    with in_one_line(module.__name__, path):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def in_one_line(name: str, path: Path) -> Iterator[None]:
    """Errors of an experiment file, `name` as a module, and of its neighbors become one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        package = EXPERIMENTS if name.startswith(EXPERIMENTS) else name.partition(".")[0]
        text = f"{errors.line_in(package, error) or path}: {errors.described(error)}"
        if isinstance(error, ImportError):
            text += "; ours are found by `from cnn_jax.experiments import NAME`"
        raise UserError(f"{text} (--debug shows the traceback)") from error


def module_name(path: Path) -> str:
    """The name of a file as a module, of a package that can then be imported from.

    The package is the folder `experiments` around the file, or else the folder of the file.
    """
    ours = (HOME / "experiments").resolve()
    add_package(EXPERIMENTS, ours)
    root = next((folder for folder in path.parents if folder.name == "experiments"), path.parent)
    package = EXPERIMENTS
    if root != ours:
        package = f"cnn_jax_experiments_{zlib.crc32(bytes(root)):08x}"
        add_package(package, root)
    return ".".join((package, *path.relative_to(root).with_suffix("").parts))


def add_package(name: str, folder: Path) -> None:
    """Makes the files of a folder importable as modules of a package of this name."""
    if name not in sys.modules:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[name] = importlib.util.module_from_spec(spec)


def choose(variant: str, choices: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Reads a variant: words with commas between, at most one of each group, the first by default.

    >>> choose("56,fast", {"depth": ("20", "56"), "recipe": ("paper", "fast")})
    {'depth': '56', 'recipe': 'fast'}
    """
    chosen: dict[str, str] = {}
    for word in filter(None, variant.split(",")):
        group = next((g for g, words in choices.items() if word in words), None)
        if group is None:
            raise errors.unknown("variant", word, [w for words in choices.values() for w in words])
        if group in chosen:
            raise UserError(f"variants {chosen[group]!r} and {word!r} exclude each other", 2)
        chosen[group] = word
    return {group: chosen.get(group, next(iter(words))) for group, words in choices.items()}


def split_override(override: str) -> tuple[str, str]:
    """`field=value` as two strings."""
    field, equals, text = override.partition("=")
    if not equals or not field:
        raise UserError(f"cannot read {override!r}: write field=value, such as model.depth=32", 2)
    return field, text


def override_field(config: ConfigDict, field: str, text: str) -> None:
    """Sets `group.name` to the value that `text` spells, of the type that the field has."""
    if field not in field_names(config):
        from cnn_jax import hints

        raise hints.unknown_field(field, field_names(config), new_name(field))
    *groups, name = field.split(".")
    group = functools.reduce(getattr, groups, config)
    if field in AUTOMATIC:
        with group.ignore_type():
            group[name] = literal(text)
        return
    kind, is_optional = group.get_type(name), may_be_none(config, field)
    value = spelled(text, kind, is_optional)
    try:
        if (value is None and not is_optional) or (isinstance(value, bool) and kind is not bool):
            raise TypeError
        group[name] = placeholder(kind) if value is None else value
    except (TypeError, ValueError):
        from cnn_jax import hints

        raise hints.wrong_value(field, text, kind, is_optional) from None


def may_be_none(config: ConfigDict, field: str) -> bool:
    """Whether a field of the config takes None: it is None now, or may be by its meaning."""
    optional = {*OPTIONAL, *(f"model.{name}" for name in models.optional(config.model.name))}
    return field in optional or functools.reduce(getattr, field.split("."), config) is None


def new_name(field: str) -> str | None:
    """What a field is called now; None where its name is not one of before."""
    for old, new in old_names.FIELDS.items():
        if field == old or field.startswith(f"{old}."):
            return field.replace(old, new, 1)
    return None


def spelled(text: str, kind: type, is_optional: bool) -> Any:
    """The value that a text spells, for a field of this type."""
    if kind is str and text != "None":
        return text
    if is_optional and text.lower() in ("none", "null"):
        return None
    return BOOLS.get(text.lower(), text) if kind is bool else literal(text)


def literal(text: str) -> Any:
    """A Python value; `true` and `false` too; what is none is text."""
    if text.lower() in ("true", "false"):
        return BOOLS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def field_names(config: Mapping, prefix: str = "") -> list[str]:
    """Every field with its path: `seed`, `model.depth`, ..."""
    names = []
    for key, value in config.items():
        is_group = isinstance(value, Mapping | ConfigDict)
        names += field_names(value, f"{prefix}{key}.") if is_group else [f"{prefix}{key}"]
    return names


def call(function: Callable, group_name: str, group: ConfigDict, /, **others: Any) -> Any:
    """`function(**others, **group)`; a field too many or too few is an error that names it."""
    arguments = group.to_dict()
    parameters = inspect.signature(function).parameters
    takes = [
        name for name, p in parameters.items() if name not in others and p.kind is not p.VAR_KEYWORD
    ]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for name in arguments:
            if name not in takes:
                raise errors.unknown(f"field of config.{group_name}", name, takes)
    for name in takes:
        if name not in arguments and parameters[name].default is inspect.Parameter.empty:
            raise UserError(f"config.{group_name} lacks the field {name!r}", 2)
    return function(**others, **arguments)


def difference(old: ConfigDict, new: ConfigDict) -> list[str]:
    """One line for each field in which two configs differ: `model.depth: 20 there, 32 here`."""
    return [
        f"{field}: {there} there, {here} here"
        for field, (there, here) in changes(old.to_dict(), new.to_dict()).items()
    ]


def changes(old: Mapping, new: Mapping) -> dict[str, tuple[Any, Any]]:
    """The fields in which two trees of settings differ, with both values as JSON has them."""
    flat = [flatten(json.loads(json.dumps(tree))) for tree in (old, new)]
    pairs = {
        field: tuple(values.get(field, "absent") for values in flat)
        for field in sorted(flat[0].keys() | flat[1].keys())
    }
    return {field: (there, here) for field, (there, here) in pairs.items() if there != here}


def flatten(tree: Mapping, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one: {"model.depth": 20, ...}."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
