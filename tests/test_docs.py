"""README and docs are true: what can run on the embedded digits is run, the rest is parsed.

Which blocks run is written in the pages, as docs/README.md explains: "```bash run" and the like.
"""

import argparse
import ast
import importlib
import inspect
import re
import runpy
import shutil
import sys
import tomllib

import jax
import pytest

import cnn_jax
from cnn_jax import config as configs
from cnn_jax import data, models
from cnn_jax.bench import checks
from cnn_jax.commands import arguments as shared_arguments
from cnn_jax.commands import bench, command_line
from cnn_jax.commands import eval as evaluation
from cnn_jax.evaluation import protocols
from tests.conftest import ROOT, TINY, launch_here
from tests.pages import PAGES, commands, read

LANGUAGES = ("bash", "python", "text")
# What makes training a matter of a second: a network without convolutions, one program.
SMALL = [
    *("model.name=lenet", "model.variant=300-100", "augmentation.crop_padding=0"),
    "learning_rate.warmup=0 epochs",
    *("training.duration=4 steps", "training.steps_per_dispatch=4"),
    *("training.checkpoint_every=4 steps", "evaluation.every=4 steps"),
]
SHORT_BENCH = ["--steps=1", "--rounds=1", "--seconds=0"]
NAMED = {str(path.relative_to(ROOT)): read(path) for path in PAGES}
SLOW = ("docs/finetuning.md",)  # `tests/training/test_finetune.py` is faster
pages = pytest.mark.parametrize("page", NAMED.values(), ids=NAMED)
running_pages = pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, page in NAMED.items()
    ],
)


def test_the_readme_is_at_most_150_lines_long_and_no_page_of_docs_is_longer_than_180():
    lines = {page: len(page.read_text().splitlines()) for page in PAGES}
    assert lines.pop(ROOT / "README.md") <= 150
    assert {page.name: count for page, count in lines.items() if count > 180} == {}


def test_the_readme_names_every_room_family_and_page():
    text = (ROOT / "README.md").read_text()
    rooms = {f"cnn_jax/{p.parent.name}/" for p in (ROOT / "cnn_jax").glob("*/__init__.py")}
    wanted = rooms | {f"`{name}`" for name in models.names()}
    wanted |= {f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md") if p.stem != "README"}
    assert sorted(name for name in wanted if name not in text) == []


def test_the_recipes_and_their_tables_are_all_on_their_page():
    text = (ROOT / "docs/recipes.md").read_text()
    for file in recipes():
        folder = file.parent.name
        assert folder == "experiments" or f"{folder}/" in text, file
        tables = getattr(configs.load_experiment(file), "TABLES", {})
        lines = [line for line in text.splitlines() if line.startswith(f"| `{folder}/")]
        assert not [name for name in tables if f"`{name}`" not in "\n".join(lines)], file


def recipes():
    """The experiments that `launch.py list` shows."""
    files = sorted((ROOT / "experiments").rglob("*.py"))
    return [file for file in files if "def get_config" in file.read_text()]


@pages
def test_links_lead_somewhere(page):
    for link in page.links():
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.path.parent / name).resolve() if name else page.path
        assert target.exists(), link
        assert not anchor or anchor in read(target).anchors(), link


@pages
def test_files_and_fields_in_the_text_exist(page, fields):
    groups = {field.partition(".")[0] for field in fields}
    for span in page.spans():
        if re.fullmatch(r"(cnn_jax|experiments|tests|docs)/\S*|\w+/[\w/]+\.(py|md)(:\S+)?", span):
            file = re.sub(r"\.py:\S+", ".py", span)
            places = (ROOT, ROOT / "experiments", page.path.parent)
            assert any(list(place.glob(file.rstrip("/"))) for place in places), span
        if match := re.fullmatch(r"(\w+)((?:\.\w+)+)(=.*)?", span):
            is_field = match[1] in groups and not re.search(r"\.(npz|json|csv)$", match[2])
            assert not is_field or match[1] + match[2] in fields, span


@pages
def test_modules_and_signatures_in_the_text_exist(page):
    for span in page.spans():
        if match := re.fullmatch(r"(cnn_jax(?:\.\w+)+)(\(.*\))?", span):
            found = resolve(match[1])
            if match[2] and not re.match(r'\(["A-Z]', match[2]):  # a signature, not a call
                assert parameters(match[2]) == list(inspect.signature(found).parameters), span


def resolve(name):
    """A module of cnn_jax, or something in it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        parent, _, last = name.rpartition(".")
        return getattr(resolve(parent), last)


def parameters(text):
    """The names in a signature as it is written, `(config, workdir, *, seeds=None)`."""
    arguments = ast.parse(f"def f{text}: pass").body[0].args
    own = [*arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
    return [argument.arg for argument in own if argument]


@pytest.fixture(scope="module")
def fields():
    """Every field that some experiment's config has, and their groups."""
    found = set()
    for file in recipes():
        found |= set(configs.field_names(cnn_jax.load_config(str(file))))
    return found | {field.rpartition(".")[0] for field in found if "." in field}


@pages
def test_commands_that_are_not_run_can_be_parsed(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert {block.language for block in page.blocks} <= set(LANGUAGES)
    for command in page.commands():
        try:
            check(command, monkeypatch)
        except BaseException as error:
            error.add_note(f"in {page.path.name}: {' '.join(command)}")
            raise


def check(command, monkeypatch):
    """Raises where a command has a file, flag, variant, field, row or requirement that is not."""
    program, *rest = command
    if program == "python" and rest[0] == "launch.py":
        check_launch(rest[1:])
    elif program == "cnn-jax":
        check_launch(rest)
    elif program == "python" and rest[:2] == ["-m", "pytest"]:
        check_pytest(rest[2:])
    elif program == "python" and rest[:2] == ["-m", "tests.mutants"]:
        assert (ROOT / rest[2]).is_dir(), rest[2]
    elif program == "python" and rest[0].endswith(".py"):
        check_script(rest[0], rest[1:], monkeypatch)
    elif program == "pip":
        check_pip(rest)
    else:
        programs = (".", "bash", "pre-commit", "python3", "ruff")
        assert program in programs, "a program that not every machine has: write ```text"


def check_launch(arguments):
    """Parses, and loads the configs that it names."""
    is_name = len(arguments) == 1 and arguments[0] in command_line.COMMANDS
    if arguments in ([], ["--help"]) or is_name:
        return
    module, parsed = command_line.parse(arguments, command_line.LAUNCH)
    if getattr(parsed, "config", None):
        source = shared_arguments.load_config(parsed).data
        data.check_fields(source.name, source.path, source.image_size, source.split_seed)
    if hasattr(parsed, "table"):
        module.find(parsed)
    if hasattr(parsed, "against"):
        bench.chosen(parsed.against, "float32")
    if hasattr(parsed, "protocol"):
        evaluation.check(parsed)
        assert parsed.protocol in protocols.PROTOCOLS
        assert set((parsed.weights_of or "raw").split(",")) <= set(evaluation.WEIGHTS)


def check_pytest(arguments):
    """Its files exist, and have slow tests where these are asked for."""
    files = [word for word in arguments if word.endswith(".py")]
    flags = set(arguments) - set(files) - {"slow", "compiled", "fuzz"}
    assert flags <= {"-m", "-s", "-q", "-x", "-n", "2"}, arguments
    for file in files:
        assert "slow" not in arguments or "pytest.mark.slow" in (ROOT / file).read_text(), file


def check_pip(arguments):
    """Files of requirements exist, extras too; what is pinned has the version that is tested."""
    text = (ROOT / "requirements.txt").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for before, word in zip(["", *arguments], arguments, strict=False):
        if before == "-r":
            assert (ROOT / word).is_file(), word
        name, extra, version = re.fullmatch(r"([^\[=]+)(?:\[(\w+)\])?(?:==(.+))?", word).groups()
        assert not version or f"{name}=={version}\n" in text, word
        assert not extra or name != "." or extra in extras, word


def check_script(file, arguments, monkeypatch):
    """Its own parser takes the arguments; nothing is done with them."""

    class Parsed(Exception):
        pass

    original = argparse.ArgumentParser.parse_args

    def parse_args(self, args=None, namespace=None):
        original(self, arguments, namespace)
        raise Parsed

    with monkeypatch.context() as patch, pytest.raises(Parsed):
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(sys, "path", [str((ROOT / file).parent), *sys.path])
        runpy.run_path(str(ROOT / file), run_name="__main__")


@pages
def test_python_that_is_not_run_compiles_and_imports_what_exists(page):
    for block in page.blocks:
        if block.language == "python":
            for node in ast.walk(ast.parse(block.text)):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cnn_jax"):
                    for name in node.names:
                        resolve(f"{node.module}.{name.name}")


@pytest.fixture
def checkout(tiny_run, tmp_path, monkeypatch):
    """The current folder, like a checkout in which the quickstart was run; it takes new files."""
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    shutil.copytree(tiny_run, tmp_path / "runs/quickstart")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "FAMILIES", dict(models.FAMILIES))
    monkeypatch.setattr(data, "SOURCES", dict(data.SOURCES))
    # `tests/bench/test_checks.py` trains.
    quick = tuple(check for check in checks.CHECKS if check is not checks.check_training)
    monkeypatch.setattr(checks, "CHECKS", quick)
    for room in (models, data):
        folder = tmp_path / room.__name__.replace(".", "/")
        monkeypatch.setattr(room, "__path__", [*room.__path__, str(folder)])
    caches = jax.config.jax_enable_compilation_cache
    yield tmp_path
    jax.config.update("jax_enable_compilation_cache", caches)  # `bench` turned it off
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in (getattr(module, "__file__", None) or ""):
            del sys.modules[name]


@running_pages
def test_what_is_marked_runs(page, checkout):
    namespace = {"__name__": "page"}
    for block in page.blocks:
        if block.file:
            (checkout / block.file).parent.mkdir(parents=True, exist_ok=True)
            (checkout / block.file).write_text(block.text)
        elif "run" in block.words and block.language == "python":
            text = "\n" * (block.line - 1) + block.text
            exec(compile(text, page.path, "exec"), namespace)
        elif "run" in block.words:
            for command in commands(block.text):
                assert command[:2] == ["python", "launch.py"] and "--record" not in command
                done = launch_here(*shortened(command[2:]))
                assert done.returncode == 0, (command, done.stderr, done.stdout)


def shortened(arguments):
    """The arguments with those that make it a matter of seconds, where it trains or measures."""
    command = arguments[0] if arguments and not arguments[0].startswith("-") else "train"
    is_long = command in ("train", "sweep", "bench") and "--dry_run" not in arguments
    if arguments == ["--help"] or not is_long or any("smoke" in word for word in arguments):
        return arguments
    assert not any(word.startswith("--config=") for word in arguments), "run `smoke` recipes only"
    # runs/quickstart is there, and a sweep of its first row has compiled programs by it.
    is_quickstart = arguments in ([], ["train"]) or command == "sweep"
    given = " ".join(arguments)
    fields = [f for f in (TINY if is_quickstart else SMALL) if f.partition("=")[0] not in given]
    more = [f"--config.{field}" for field in fields]
    if command == "bench":
        more += SHORT_BENCH
    if command == "sweep":
        field, values = arguments[arguments.index("--grid") + 1].split("=")
        more.append(f"--only={field.rpartition('.')[2]}={values.partition(',')[0]}")
    return [*(arguments or ["train"]), *more]
