"""Devices and links come from the catalogue, from figures, or from both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario import run_scenario
from fedsim.scenario.build.hardware import device_spec, link_spec, overlaid
from fedsim.scenario.file.hardware_tables import DeviceTable, LinkTable
from fedsim.spec.device_catalogue import device
from fedsim.spec.link_catalogue import link
from fedsim.spec.quantity import FROM_FILE
from scenarios import changed, written


def device_table(**keys: Any) -> DeviceTable:
    """A table as it is read from a file."""
    return DeviceTable.model_validate(keys, context=FROM_FILE)


def link_table(**keys: Any) -> LinkTable:
    """A table as it is read from a file."""
    return LinkTable.model_validate(keys, context=FROM_FILE)


def test_a_name_alone_is_the_catalogues_entry() -> None:
    """Nothing is changed on the way."""
    assert device_spec(device_table(like="rtx4090"), "float32", None) == device("rtx4090")
    assert link_spec(link_table(like="gbe")) == link("gbe")


def test_formats_that_do_not_go_together_are_one_mistake_with_a_way_out(tmp_path: Path) -> None:
    """16-bit weights in 32-bit products: named once, and no device is blamed in other words."""
    table = changed(model={"weights_dtype": "bfloat16", "compute_dtype": "float32"})
    with pytest.raises(ScenarioError) as refused:
        run_scenario(written(tmp_path, table))
    message = str(refused.value)
    assert "16-bit weights compute in their own format" in message
    assert "compute_dtype = 'bfloat16' or weights_dtype = 'float32'" in message
    assert "autocast" not in message


def test_a_slowdown_multiplies_every_coefficient() -> None:
    """Twice as slow in everything."""
    slow = device_spec(device_table(like="rtx4090", slowdown=2.0), "float32", None)

    for feature, seconds in device("rtx4090").seconds_per_unit.items():
        assert slow.seconds_per_unit[feature] == 2 * seconds


def test_own_figures_make_a_device() -> None:
    """Rates become seconds a unit, and nobody calls it calibrated."""
    own = device_spec(
        device_table(compute="2 TFLOP/s", memory_bandwidth="100 GB/s", operator_time="10 us"),
        "float32",
        None,
    )

    assert own.seconds_per_unit["linear_flop"] == 5e-13
    assert own.seconds_per_unit["moved_bytes"] == 1e-11
    assert own.seconds_per_unit["num_kernels"] == 1e-5
    assert not own.is_calibrated


def test_own_figures_make_a_link() -> None:
    """10 Mbit/s is 1.25 MB/s."""
    own = link_spec(link_table(uplink="10 Mbit/s", downlink="1 MB/s", round_trip="40 ms"))

    assert own.uplink_bytes_per_s == 1.25e6
    assert own.round_trip_s == 0.04


@pytest.mark.parametrize("missing", ["compute", "memory_bandwidth", "operator_time"])
def test_a_missing_figure_of_a_device_is_an_error(missing: str) -> None:
    """Missing physics is no default."""
    keys = {"compute": "1 TFLOP/s", "memory_bandwidth": "1 GB/s", "operator_time": "1 us"}
    del keys[missing]

    with pytest.raises(ScenarioError, match=f"{missing} missing"):
        device_spec(device_table(**keys), "float32", None)


@pytest.mark.parametrize("missing", ["uplink", "downlink", "round_trip"])
def test_a_missing_figure_of_a_link_is_an_error(missing: str) -> None:
    """Uplink and downlink differ, so one never stands for the other."""
    keys = {"uplink": "1 MB/s", "downlink": "1 MB/s", "round_trip": "1 ms"}
    del keys[missing]

    with pytest.raises(ScenarioError, match=f"{missing} missing"):
        link_spec(link_table(**keys))


def test_an_unknown_number_format_of_a_device_is_an_error() -> None:
    """A device without a published peak for a format is not run in it."""
    with pytest.raises(ScenarioError, match="no peak rate is known for bfloat16"):
        device_spec(device_table(like="rpi5-8g"), "bfloat16", None)


def test_a_class_changes_what_it_names_and_keeps_the_rest() -> None:
    """Unless it says what it is like: then it stands alone."""
    base = link_table(like="gbe", round_trip="9 ms")

    changed = overlaid(base, link_table(uplink="1 MB/s"))
    assert changed is not None
    assert (changed.like, changed.round_trip, changed.uplink) == ("gbe", 0.009, 1e6)
    assert overlaid(base, link_table(like="3g")) == link_table(like="3g")
    assert overlaid(base, None) == base
    assert overlaid(None, base) == base
