"""Sequence diagrams are laid out from the protocol's value alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedsim.protocol import FRAMEWORKS
from fedsim.protocol.step import step_labels
from fedsim.report.protocol.sequence import sequence_diagram
from fedsim.report.protocol.sequence_layout import Layout, lay_out, words
from fedsim.scenario.example import example_protocol
from fedsim.spec.batch import TextLengths


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_step_stands_in_the_diagram_once(name: str) -> None:
    """Batches of different sizes are one loop."""
    protocol = example_protocol(name).protocol
    layout = Layout()
    lay_out(layout, "round", protocol.round)

    shown = [mark.text.split()[0] for mark in layout.marks if mark.kind not in ("title", "gather")]
    assert shown == list(step_labels(protocol.round))


def test_unpadded_batches_are_one_loop() -> None:
    """A protocol that writes each batch by itself is still drawn on one page."""
    plan = example_protocol("split_fedllm").plan
    text = TextLengths(64, 80, "none", tuple(range(1, 65)))
    protocol = FRAMEWORKS["split_fedllm"](replace(plan, train_epochs=(text,)))
    layout = Layout()
    lay_out(layout, "round", protocol.round)

    assert [f.text for f in layout.frames if f.kind == "loop"] == ["4 times, sizes of the first"]


def test_loops_say_how_often() -> None:
    """1667 samples in batches of 16 are 105 batches."""
    layout = Layout()
    lay_out(layout, "round", example_protocol("fedllm").protocol.round)

    assert [f.text for f in layout.frames if f.kind == "loop"] == ["105 times"]


def test_an_empty_part_is_not_drawn() -> None:
    """No framework of the article has a finish."""
    layout = Layout()
    lay_out(layout, "at the end", ())

    assert layout.marks == []


def test_class_names_become_words() -> None:
    """As the docs call the operations."""
    assert words("TrainAboveCut") == "train above cut"


def test_a_diagram_is_written(tmp_path: Path) -> None:
    """As a picture with a size."""
    sequence_diagram(example_protocol("kd_fedllm").protocol, tmp_path / "a.png")

    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
