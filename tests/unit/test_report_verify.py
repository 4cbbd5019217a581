"""What ``fedsim verify`` says of seconds: a slow afternoon is no wrong model."""

import io

import pytest
from rich.console import Console

from fedsim.agreement import StepCheck, Verification
from fedsim.ledger import LedgerRow
from fedsim.report.run.verify import machine_line, print_verification


def outcome(measured_s: float, **sentinels: float) -> Verification:
    """One step that is predicted to take a second, x/÷ 1.3."""
    step = StepCheck("c1", LedgerRow(), LedgerRow(), 1.0, measured_s, (1 / 1.3, 1.3))
    memory = {"client": 10**6, "server": 10**6}
    return Verification("f", (step,), (), memory, memory, 3, "mine", "a source", sentinels)


def printed(one: Verification) -> str:
    """The report as text, 80 columns wide."""
    stream = io.StringIO()
    print_verification(Console(file=stream, width=80), [one], "title")
    return stream.getvalue()


def test_a_busy_machine_is_not_taken_for_a_bad_model() -> None:
    """4.6 times as long on a machine that is 4.6 times slower is as predicted, and is said."""
    slow = outcome(4.6, product=4.0, stream=4.6, dispatch=9.0)
    text = printed(slow)
    assert "This machine is now 4.6x slower than the profile's" in " ".join(text.split())
    row = next(line for line in text.splitlines() if "0.77 .. 1.30" in line)
    assert row.split()[10:] == ["now"]
    assert row.split()[5:10] == ["4.60", "0.77", "..", "1.30", "1.00"]
    assert slow.steps[0].is_outside()
    assert not slow.steps[0].is_outside(4.6)


@pytest.mark.parametrize(
    ("measured_s", "sentinel", "mark"),
    [(1.2, 1.0, ""), (2.0, 1.0, "now, then"), (1.0, 2.0, "then"), (9.0, 3.0, "now, then")],
)
def test_what_the_interval_does_not_hold_is_marked(
    measured_s: float, sentinel: float, mark: str
) -> None:
    """As it was measured, and as it would be at the profile's speed."""
    text = printed(outcome(measured_s, product=sentinel))
    row = next(line for line in text.splitlines() if "0.77 .. 1.30" in line)
    without_slowness = f"{measured_s / sentinel:.2f}"
    assert row.partition("1.30")[2].split() == [without_slowness, *mark.split()]


def test_a_machine_as_it_was_is_called_so() -> None:
    """And a faster one is not called slower."""
    assert "as fast as the profile's" in machine_line(outcome(1.0, product=1.04))
    assert "2.0x faster than the profile's" in machine_line(outcome(1.0, product=0.5))


def test_the_outcome_says_how_slow_the_machine_was() -> None:
    """In the JSON too, with the interval of each prediction."""
    table = outcome(1.0, product=3.0, stream=2.0, dispatch=5.0).as_dict()
    assert table["slowness"] == 3.0
    assert table["sentinel_ratios"] == {"product": 3.0, "stream": 2.0, "dispatch": 5.0}
    assert table["steps"][0]["predicted_interval_s"] == [1 / 1.3, 1.3]
