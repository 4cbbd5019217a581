"""A device that nobody measured is priced from its peak, and says so."""

import pytest

from fedsim.errors import ScenarioError
from fedsim.spec.device import FEATURES
from fedsim.spec.device_catalogue import device, device_facts, device_names

NAMES = (
    "rpi5-8g",
    "rpi5-16g",
    "orin-nano-super-8g",
    "agx-orin-64g",
    "sd8gen3-phone",
    "laptop-7840u",
    "rtx4090",
    "a100-80g-sxm",
    "h100-sxm",
    "h200-sxm",
)


def test_the_catalogue_has_these_devices() -> None:
    """Small ones first."""
    assert device_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_device_of_the_catalogue_is_not_calibrated(name: str) -> None:
    """It says so, and its interval is wide."""
    spec = device(name)

    assert not spec.is_calibrated
    assert spec.relative_sigma == 0.35
    assert "not calibrated" in spec.source


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_work_has_a_price(name: str) -> None:
    """No feature is left out; only the constant of a call is free."""
    prices = device(name).seconds_per_unit

    assert tuple(prices) == FEATURES
    assert [feature for feature in FEATURES if prices[feature] == 0] == ["num_calls"]


@pytest.mark.parametrize("name", NAMES)
def test_no_device_reaches_its_peak(name: str) -> None:
    """Achieved rates stay below what is published, in every format."""
    facts = device_facts(name)

    for dtype, fraction in facts.achieved_fraction.items():
        assert 0 < fraction < 1
        assert dtype in facts.peak_flop_per_s
    assert 0 < facts.bandwidth_fraction < 1
    assert 0 < facts.usable_memory_fraction < 1


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_names_its_source_and_its_mark(name: str) -> None:
    """Nothing published is without a place, a derivation or a warning."""
    facts = device_facts(name)
    figures = [
        *facts.peak_flop_per_s.values(),
        facts.memory_bytes,
        facts.bandwidth_bytes_per_s,
        facts.power_watts,
        *([facts.lowest_power_watts] if facts.lowest_power_watts else []),
    ]

    for figure in figures:
        assert figure.value > 0
        assert figure.mark in ("source", "derived", "unverified", "assumption")
        assert figure.source


def test_prices_are_the_inverse_of_the_achieved_rates() -> None:
    """A Raspberry Pi 5, by hand.

    153.6 GFLOP/s x 0.2 = 30.72 GFLOP/s; 17.1 GB/s x 0.4 = 6.84 GB/s; 8 GiB x 0.85 = 7.3014 GB.
    """
    spec = device("rpi5-8g")

    assert 1 / spec.seconds_per_unit["linear_flop"] == pytest.approx(30.72e9)
    assert spec.seconds_per_unit["attention_flop"] == spec.seconds_per_unit["linear_flop"]
    assert spec.seconds_per_unit["head_flop"] == spec.seconds_per_unit["linear_flop"]
    for feature in ("lora_bytes", "moved_bytes", "parameter_bytes"):
        assert 1 / spec.seconds_per_unit[feature] == pytest.approx(6.84e9)
    assert spec.seconds_per_unit["num_kernels"] == 20e-6
    assert spec.memory_bytes == 7_301_444_403


@pytest.mark.parametrize("name", ["rpi5-8g", "rpi5-16g", "sd8gen3-phone"])
def test_phones_and_small_boards_train_at_a_few_tens_of_gflop_per_s(name: str) -> None:
    """Their peaks mislead by a factor of ten and more; the prices do not follow them."""
    achieved_flop_per_s = 1 / device(name).seconds_per_unit["linear_flop"]

    assert 2e9 < achieved_flop_per_s < 50e9


def test_tensor_cores_are_priced_apart_from_float32() -> None:
    """An A100 multiplies bfloat16 16 times as fast at its peak: 312 against 19.5 TFLOP/s."""
    single, half = device("a100-80g-sxm"), device("a100-80g-sxm", "bfloat16")

    peaks = device_facts("a100-80g-sxm").peak_flop_per_s
    assert peaks["bfloat16"].value == 16 * peaks["float32"].value
    assert half.seconds_per_unit["linear_flop"] < single.seconds_per_unit["linear_flop"]
    assert half.seconds_per_unit["moved_bytes"] == single.seconds_per_unit["moved_bytes"]
    assert "bfloat16 peak 312" in half.source


def test_a_format_without_a_known_peak_is_refused() -> None:
    """float32's rate is not taken for it."""
    with pytest.raises(
        ScenarioError,
        match=r"device 'rpi5-8g': no peak rate is known for bfloat16; allowed: float32\. "
        "A rate that you know makes a device of your own, in any format: compute = ",
    ):
        device("rpi5-8g", "bfloat16")


def test_an_h200_is_an_h100_with_more_and_faster_memory() -> None:
    """Same chip, same matrix rates; only what moves bytes is cheaper."""
    h100, h200 = device("h100-sxm"), device("h200-sxm")

    assert h200.seconds_per_unit["linear_flop"] == h100.seconds_per_unit["linear_flop"]
    assert h200.seconds_per_unit["moved_bytes"] < h100.seconds_per_unit["moved_bytes"]
    assert h200.memory_bytes > h100.memory_bytes


def test_power_is_known_in_watts_with_its_range() -> None:
    """A board with power modes has two figures, a card one."""
    board, card = device_facts("orin-nano-super-8g"), device_facts("rtx4090")

    assert board.lowest_power_watts is not None
    assert (board.lowest_power_watts.value, board.power_watts.value) == (7, 25)
    assert (card.lowest_power_watts, card.power_watts.value) == (None, 450)


def test_an_unknown_device_is_refused_with_the_nearest_name() -> None:
    """No other device is taken for it."""
    with pytest.raises(ScenarioError) as caught:
        device("a100-80gb-sxm")

    message = str(caught.value)
    assert message.startswith("device 'a100-80gb-sxm' is not in the catalogue; allowed: rpi5-8g,")
    assert message.endswith("Did you mean 'a100-80g-sxm'?")
    assert all(name in message for name in NAMES)
