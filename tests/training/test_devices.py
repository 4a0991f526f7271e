"""The result does not depend on the number of devices, nor on where the parameters are."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT

NETWORKS = ["small", pytest.param("wide_resnet", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=NETWORKS)
def report(request):
    """What `devices_report.py` found, on eight devices that this machine pretends to have."""
    command = [sys.executable, "-m", "tests.training.devices_report", request.param]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def test_batch_norm_groups_augmentation_and_dropout_give_one_trajectory(report):
    one, several = report["devices"]["1"], report["devices"]["4"]
    assert len(one["train"]) == 20
    assert several["train"] == pytest.approx(one["train"], rel=1e-5)
    assert several["validation"] == pytest.approx(one["validation"], rel=1e-5)


def test_parameters_sharded_over_eight_devices_give_the_same_as_one_device(report):
    whole, sharded = report["devices"]["1"], report["sharded"]
    assert sharded["train"] == pytest.approx(whole["train"], rel=1e-5)
    assert sharded["validation"] == pytest.approx(whole["validation"], rel=1e-5)


def test_sharded_parameters_optimizer_and_averages_take_an_eighth_of_each_device(report):
    assert 1 / 8 <= report["sharded"]["share"] < 1.01 / 8


def test_accumulated_gradients_do_not_depend_on_the_devices_either(report):
    one, four = report["accumulated"]["1"], report["accumulated"]["4"]
    assert four == pytest.approx(one, rel=1e-4)


def test_a_batch_norm_group_on_one_device_needs_no_communication(report):
    assert report["collectives"]["8"] == 0  # of 64 images on eight devices


def test_a_batch_norm_group_that_spans_two_devices_communicates(report):
    assert report["collectives"]["16"] > 0


def test_gradients_of_bfloat16_layers_are_one_device_s_within_their_rounding(report):
    one, eight = (np.array(report["bfloat16"][n]) for n in ("1", "8"))
    assert np.abs(eight - one).max() < 2**-8 * np.abs(one).max()


def test_batch_statistics_of_a_bfloat16_network_are_estimated_beside_other_devices(report):
    assert min(report["reestimated"]) > 0
