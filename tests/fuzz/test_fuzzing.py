"""The fuzzer finds what it is to find, and finds it again."""

import time

import numpy as np
import pytest

from cnn_jax.errors import UserError
from tests.fuzz import fuzzing
from tests.fuzz.fuzzing import Case, Fuzzer, run


def make(folder, seed):
    (folder / "file").write_bytes(bytes([seed]) + bytes(range(200)))


def content(folder):
    return (folder / "file").read_bytes()


def with_length(folder):
    """A careless reader: of empty files it has a traceback, of large ones it is slow."""
    found = content(folder)
    found[0]
    return len(found)


def refused(folder):
    if len(content(folder)) != 201:
        raise UserError("it has another size")


def outcomes(read, folder, checksum=False, inputs=64):
    (folder / read.__name__).mkdir()
    case = Case("made", make, read, checksum=checksum)
    return run(Fuzzer(case, folder / read.__name__, seed=0), range(inputs))


def test_results_that_are_the_same_or_others_and_clear_lines_are_counted(tmp_path):
    counts, failures = outcomes(content, tmp_path)
    assert counts["other"] > 55 and not failures
    counts, failures = outcomes(refused, tmp_path)
    assert counts["line"] > 20 and counts["same"] > 20 and not failures
    assert counts.total() == 64


def test_a_traceback_is_a_failure_that_its_number_makes_again(tmp_path):
    _, (failure,) = outcomes(with_length, tmp_path)
    assert failure.what == "IndexError" and "found[0]" in failure.text
    assert failure.damaged.how == "empty"
    (tmp_path / "again").mkdir()
    again = Fuzzer(Case("made", make, with_length), tmp_path / "again", seed=0)
    assert again.input(failure.number) == failure.damaged
    assert again.outcome(failure.damaged)[0] == "IndexError"


def test_another_result_in_spite_of_a_checksum_is_a_failure_unless_a_whole_file_was_swapped_in(
    tmp_path,
):
    counts, (failure,) = outcomes(content, tmp_path, checksum=True)
    assert failure.what == "another result in spite of the checksum"
    assert counts["other"] > 0 and not failure.damaged.is_swapped


def test_a_reader_that_hangs_or_is_slow_or_takes_all_memory_has_failed(tmp_path, monkeypatch):
    def hangs(folder):
        if len(content(folder)) != 201:
            time.sleep(60)

    def fills(folder):
        if len(content(folder)) != 201:
            np.ones(2**26)

    monkeypatch.setattr(fuzzing, "HANG", 0.05)
    _, (failure,) = outcomes(hangs, tmp_path, inputs=5)
    assert failure.what == "hangs for 0.05 s"
    monkeypatch.setattr(fuzzing, "HANG", 300)
    monkeypatch.setattr(fuzzing, "MEMORY", 2**28)
    _, failures = outcomes(fills, tmp_path, inputs=5)
    assert [failure.what.endswith("GiB") for failure in failures] == [True]


@pytest.mark.parametrize("name", ["flip", "cut", "empty", "insert", "magic", "huge", "number"])
def test_every_damage_changes_something(name):
    from tests.fuzz import mutations

    whole = b'{"size": 12, "names": ["a", "b"]}'
    random = np.random.default_rng(0)
    assert sum(getattr(mutations, name)(whole, random) != whole for _ in range(20)) >= 19
