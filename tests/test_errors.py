"""What went wrong is one line, whatever names are in it; a traceback is there for who asks."""

import pytest

from cnn_jax import errors
from cnn_jax.errors import UserError


@pytest.mark.parametrize(
    "name,text",
    [
        ("plain [b] ü :smile:", "plain [b] ü :smile:"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("red \x1b[31m", "red \\x1b[31m"),
        ("caf\udce9", "caf\\xe9"),  # a byte that is no UTF-8, as Python names such files
        ("\u2028\x85\ud800", "\\u2028\\u0085\\ud800"),
    ],
)
def test_a_name_becomes_one_line_that_any_terminal_takes(name, text):
    assert errors.printable(name) == str(UserError(name)) == text
    text.encode()


def test_an_exception_is_described_by_its_type_and_an_error_of_the_user_or_the_disk_is_not():
    assert errors.described(KeyError("x")) == "KeyError: 'x'"
    assert errors.described(ValueError("a\n  b")) == "ValueError: a b"
    assert errors.described(RuntimeError()) == "RuntimeError"
    assert errors.described(UserError("no run")) == "no run"
    assert errors.described(OSError(28, "No space left")) == "[Errno 28] No space left"


def test_a_long_list_is_left_out_where_one_name_is_close():
    many = [f"field_{i}" for i in range(75)]
    assert str(errors.unknown("field", "feild_7", many)) == (
        "unknown field 'feild_7' (did you mean 'field_7'?)"
    )
    assert str(errors.unknown("field", "x", "abc")) == "unknown field 'x'; choose from: a, b, c"


def fail():
    raise KeyError("lost")


def test_a_surprise_is_told_with_its_line_and_a_traceback_for_who_asks(capsys, monkeypatch):
    monkeypatch.delenv(errors.DEBUG, raising=False)
    try:
        fail()
    except KeyError as error:
        caught = error
    assert errors.show(caught) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: KeyError: 'lost' (") and line.count("\n") == 1
    assert errors.line_in(__name__, caught).startswith(f"{__file__}, line ")
    monkeypatch.setenv(errors.DEBUG, "1")
    errors.show(caught)
    assert "Traceback" in capsys.readouterr().err


def test_the_status_of_a_run_keeps_the_traceback_of_a_surprise_alone():
    assert errors.facts(UserError("no data")) == {"message": "no data"}
    told = errors.facts(KeyError("x"))
    assert told["message"] == "KeyError: 'x'" and told["traceback"][-1] == "KeyError: 'x'"


def test_an_endless_name_is_cut_in_its_message():
    assert len(str(errors.unknown("block", "[" * 10_000, ["B(3,3)"]))) < 300
