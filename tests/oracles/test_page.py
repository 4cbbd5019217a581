"""The manual's page on other programs says what the tests say."""

import json
import re
import tomllib
from pathlib import Path
from statistics import fmean

import pytest

from fedsim.cost.flop import operation_flop
from fedsim.protocol.operation import Part, Train
from fedsim.spec.batch import BatchShape
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import TrainingSpec
from fedsim.spec.tuning import FullTuning, LoraTuning
from oracles.comparisons import COMPARISONS, Comparison

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "held_against_others.md").read_text(encoding="utf-8")
SHIPPED = ROOT / "calibrate" / "cpu-2-threads"


@pytest.mark.parametrize("one", COMPARISONS, ids=lambda one: one.test.partition("::")[2])
def test_each_row_names_a_test_that_exists(one: Comparison) -> None:
    """And each comparison has its row, so that none can be left out where it looks bad."""
    file, _, function = one.test.partition("::")

    assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8")
    rows = [line for line in PAGE.splitlines() if f"`{function}`" in line]
    assert len(rows) == 1
    assert one.what in rows[0]


def test_every_file_of_comparisons_is_in_the_table() -> None:
    """A new oracle gets a row."""
    files = {path.name for path in Path(__file__).parent.glob("test_*.py")} - {"test_page.py"}

    assert {Path(one.test.partition("::")[0]).name for one in COMPARISONS} == files


def test_known_errors_are_quoted_as_the_shipped_profile_has_them() -> None:
    """Peak memory and seconds of steps, and the study's best run."""
    profile = tomllib.loads((SHIPPED / "profile.toml").read_text(encoding="utf-8"))
    memory, fit = profile["memory"], profile["fit"]["float32"]
    time = fit["held_out"]["configuration"]
    points = json.loads((SHIPPED / "learning" / "findings.json").read_text())["points"]
    best = max(fmean(point["accuracy"].values()) for point in points)

    assert (
        f"median error {memory['peak']['median']:.1%}, {memory['peak']['p95']:.0%} at the 95th "
        f"percentile, {memory['peak']['largest']:.0%} at worst; unpadded batches "
        f"{memory['unpadded_peak']['p95']:.0%}"
    ).replace("%", " %") in PAGE
    assert (
        f"median error {time['median']:.1%}, {time['p95']:.0%} at the 95th percentile, beside a "
        f"test-retest noise of {fit['noise']['model']['median']:.1%}"
    ).replace("%", " %") in PAGE
    assert f"best run reaches {best:.1%}".replace("%", " %") in PAGE


def test_fate_s_saving_is_missed_by_as_much_as_the_page_says() -> None:
    """GPT-2, texts of 200 tokens, two classes: LoRA's FLOP over those of full fine-tuning.

    FATE 1.11's manual, FATE-LLM, "training time improvement": IMDB, two parties, batches of 64.
    """
    flop = {}
    for tuning in (LoraTuning(r=8, target_modules=("attn.c_attn",)), FullTuning()):
        training = TrainingSpec(model("gpt2"), HeadSpec(num_classes=2), tuning)
        step = Train(Part.whole(12), BatchShape.padded(64, 200))
        flop[type(tuning)] = operation_flop(step, training)
    ratio = flop[LoraTuning] / flop[FullTuning]

    (published,) = re.findall(r"V100s: (0\.\d+) of the time", PAGE)
    assert f"fedsim says {ratio:.2f} by its FLOP" in PAGE
    assert ratio / float(published) == pytest.approx(3, abs=0.5)
