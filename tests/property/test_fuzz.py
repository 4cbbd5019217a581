"""Three hundred damaged files of every kind; ``make fuzz`` runs thousands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from fedsim.errors import ScenarioError
from fuzz import case
from fuzz.case import run_case, target_of
from fuzz.impossible import impossible_numbers
from fuzz.mutation import damaged_bytes, damaged_csv, damaged_table
from fuzz.targets import TARGETS

#: Another seed looks at other files; the same one at the same.
SEED: Final = int(os.environ.get("FUZZ_SEED", "20"))
CASES: Final = 300
BLOCK: Final = 30


@pytest.mark.parametrize("first", range(0, CASES, BLOCK))
def test_a_damaged_file_ends_in_an_answer_or_a_message(first: int) -> None:
    """No traceback, no hang, no flood, and no number that cannot be."""
    failures = [f for n in range(first, first + BLOCK) if (f := run_case(SEED, n)) is not None]

    assert not failures, "\n".join(f"case {f.number} ({f.target}): {f.text}" for f in failures)


def test_every_kind_of_file_has_its_turn() -> None:
    """The cases go through the targets one after the other."""
    assert {target_of(number) for number in range(CASES)} == set(TARGETS)


def test_a_seed_repeats_a_case() -> None:
    """The same damage, to the byte."""
    table = {"a": {"b": [1, 2.5, "3 s"], "c": True}, "d": "x"}

    def damage(seed: int) -> tuple[Any, ...]:
        draw = Random(seed)
        return (
            damaged_table(table, draw),
            damaged_csv("a,b\n1,2\n", draw),
            damaged_bytes(b"abc" * 9, draw),
        )

    # As text, for a NaN is no other NaN.
    assert repr(damage(3)) == repr(damage(3))
    assert len({repr(damage(seed)) for seed in range(20)}) > 15
    assert table == {"a": {"b": [1, 2.5, "3 s"], "c": True}, "d": "x"}


# --- what would be a failure is one --------------------------------------------------------------


def crashes(_: Path, __: Random) -> Iterator[str]:
    """A fault of fedsim's."""
    raise KeyError("x")
    yield


def refuses(_: Path, __: Random) -> Iterator[str]:
    """A message for the user."""
    raise ScenarioError("x = 1: allowed: 2.")
    yield


def floods(_: Path, __: Random) -> Iterator[str]:
    """A message that nobody reads."""
    raise ScenarioError("x" * 100_000)
    yield


def hangs(_: Path, __: Random) -> Iterator[str]:
    """An end that never comes."""
    while True:
        yield from ()


def lies(_: Path, __: Random) -> Iterator[str]:
    """An answer with a number that cannot be."""
    yield from impossible_numbers({"uplink_bytes": -1})


@pytest.mark.parametrize(
    ("target", "kind"),
    [(crashes, "crash"), (refuses, None), (floods, "message"), (hangs, "hang"), (lies, "number")],
)
def test_only_what_is_wrong_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, target: Any, kind: str | None
) -> None:
    """A message is none; a crash, a flood, a hang and an impossible number are."""
    monkeypatch.setattr(case, "BUDGET_CPU_S", 0.2)

    failure = run_case(0, 0, targets={"x": target})
    assert (failure.kind if failure is not None else None) == kind


@pytest.mark.parametrize(
    ("answer", "is_possible"),
    [
        ({"round_time_s": {"low": 1.0, "mean": 2.0, "high": 3.0}}, True),
        ({"round_time_s": {"low": 2.5, "mean": 2.0, "high": 3.0}}, False),
        ({"round_time_s": {"p05": 1.0, "p50": 0.5, "p95": 3.0}}, False),
        ({"energy": {"server_j": float("nan")}}, False),
        ({"totals": {"messages": -1}}, False),
        ({"setup": {"transfer_s": -0.5}}, False),
        ({"privacy": {"difference": [{"uplink_payload_bytes": -5}]}}, True),
        ({"x": float("inf")}, False),
    ],
)
def test_a_number_that_cannot_be_is_seen(answer: dict[str, Any], is_possible: bool) -> None:
    """Negative, not finite, or out of order; a difference may be negative."""
    assert (not list(impossible_numbers(answer))) is is_possible
