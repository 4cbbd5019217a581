"""Every comparison with another program, as a row of the manual's table.

Imports nothing that may be missing: a row loads what it needs when it is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["COMPARISONS", "Comparison", "Measured"]


@dataclass(frozen=True)
class Measured:
    """How many cases there were and by how much they differ at most, in words."""

    num_cases: int
    difference: str


@dataclass(frozen=True)
class Comparison:
    """A row.

    Attributes
    ----------
    oracle : str
        The other program.
    what : str
    test : str
        File and function that asserts it.
    measured : callable
    """

    oracle: str
    what: str
    test: str
    measured: Callable[[], Measured]


_ENGINES = ("des", "scale")


def _closed(is_split: bool) -> Measured:
    from oracles.queues import CLOSED, closed_difference

    cases = [case for case in CLOSED if case.is_split == is_split]
    found = [closed_difference(engine, case) for engine in _ENGINES for case in cases]
    return Measured(len(found), _figure(max(found), "s"))


def _repairman() -> Measured:
    return _closed(False)


def _cut_model() -> Measured:
    return _closed(True)


def _fcfs() -> Measured:
    from oracles.queues import FCFS, fcfs_difference

    found = [fcfs_difference(engine, case) for engine in _ENGINES for case in FCFS]
    return Measured(len(found), _figure(max(found), "s"))


def _sharing() -> Measured:
    from oracles.queues import SHARING, sharing_difference

    found = [sharing_difference(engine, case) for engine in _ENGINES for case in SHARING]
    return Measured(len(found), _figure(max(found), "relative"))


def _link() -> Measured:
    from oracles.links import CASES, LINKS, link_difference

    found = [link_difference(link, case) for link in LINKS for case in CASES]
    return Measured(len(found), _figure(max(found), "relative"))


def _by_hand() -> Measured:
    from oracles.by_hand import fedllm
    from oracles.by_hand_split import split, tcp
    from oracles.scenario_answers import answered, time_difference

    found = []
    with TemporaryDirectory() as folder:
        for scenario in (*fedllm(), *split(), *tcp()):
            closed = ("analytic",) if scenario.closed == "exact" else ()
            for engine in (*scenario.engines, *closed):
                answer = answered(scenario, engine, Path(folder))
                found.append(time_difference(scenario, answer))
    return Measured(len(found), _figure(max(found), "relative"))


def _trainer() -> Measured:
    from oracles.training import training_difference

    found = training_difference()
    largest = _figure(max(found.losses, found.tensors), f"(values moved by {found.moved:.3f})")
    return Measured(found.num_steps, largest)


def _average() -> Measured:
    from oracles.training import average_difference

    found = average_difference("sequential")
    return Measured(found.num_steps, _figure(found.tensors, f"(values moved by {found.moved:.3f})"))


def _cohort() -> Measured:
    from oracles.training import average_difference

    found = average_difference("cohort")
    return Measured(found.num_steps, _figure(found.tensors, f"(values moved by {found.moved:.3f})"))


def _flop() -> Measured:
    from oracles.flop_counter import CASES, by_fedsim, by_torch

    found = [abs(by_fedsim(case).flop - by_torch(case).flop) for case in CASES]
    return Measured(len(found), _figure(max(found), "FLOP"))


def _bytes() -> Measured:
    from oracles.published_bytes import PUBLISHED

    digits = [0 if case.unit == 1 else 2 for case in PUBLISHED]
    pairs = zip(PUBLISHED, digits, strict=True)
    found = [abs(round(c.counted / c.unit, places) - c.published) for c, places in pairs]
    return Measured(len(found), _figure(max(found), "in the published digits"))


def _figure(difference: float, unit: str) -> str:
    return f"0 {unit}" if difference == 0 else f"{difference:.0e} {unit}"


_QUEUES, _TRAINING = "tests/oracles/test_queues.py", "tests/oracles/test_training.py"
COMPARISONS = (
    Comparison(
        "Ciw",
        "clients that compute and ask the server in turns, 1, 2 and 4 accelerators: each moment at "
        "which one joins or leaves the queue",
        f"{_QUEUES}::test_clients_that_ask_lap_by_lap_wait_as_in_ciw",
        _repairman,
    ),
    Comparison(
        "Ciw",
        "the same with a message each way, as with a cut model",
        f"{_QUEUES}::test_clients_of_a_cut_model_wait_as_in_ciw",
        _cut_model,
    ),
    Comparison(
        "Ciw",
        "departures from M/D/1 and M/M/3, first come, first served, 2,000 customers each",
        f"{_QUEUES}::test_departures_first_come_first_served_are_those_of_ciw",
        _fcfs,
    ),
    Comparison(
        "Ciw",
        "departures from shared servers, M/LN/1-PS and M/M/2-PS, 800 customers each",
        f"{_QUEUES}::test_departures_from_shared_servers_are_those_of_ciw",
        _sharing,
    ),
    Comparison(
        "SimGrid",
        "ends of 1,000 flows that share one link, offered load 0.9 to 2, all access rates "
        "different or three of them",
        "tests/oracles/test_links.py::test_a_thousand_flows_end_when_simgrid_says",
        _link,
    ),
    Comparison(
        "pencil and paper",
        "whole scenarios: shared links, quorum, deadline, over-selection, FedBuff, windows, "
        "nights, cut models, turns, overlap, slow start",
        "tests/oracles/test_by_hand.py::test_simulated_rounds_end_when_they_do_by_hand",
        _by_hand,
    ),
    Comparison(
        "transformers' Trainer, peft",
        "losses and trained tensors of one client over 4 rounds (cases: Adam steps)",
        f"{_TRAINING}::test_one_client_trains_as_transformers_trainer_does",
        _trainer,
    ),
    Comparison(
        "transformers' Trainer, numpy",
        "global tensors of a round of three clients (cases: clients)",
        f"{_TRAINING}::test_the_global_model_is_the_average_by_hand_of_what_others_trained",
        _average,
    ),
    Comparison(
        "transformers' Trainer, numpy",
        "the same in cohort mode, which adds 32-bit floats in another order",
        f"{_TRAINING}::test_a_cohort_s_global_model_is_that_average_too",
        _cohort,
    ),
    Comparison(
        "torch's FLOP counter",
        "a training step of Llama-3.2-1B, Qwen2.5-0.5B and GPT-2 XL with LoRA, both heads",
        "tests/oracles/test_flop_counter.py::test_a_training_step_has_the_flop_that_torch_counts",
        _flop,
    ),
    Comparison(
        "published traffic",
        "EdgeFlowerTune's uploads of a round, two FlowerTune entries' totals, with their formats' "
        "headers added",
        "tests/oracles/test_published_bytes.py::"
        "test_published_traffic_is_counted_to_the_last_published_digit",
        _bytes,
    ),
)
