"""``fedsim verify`` and ``fedsim calibrate`` as a user types them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedsim.cli import main

STEPS = {
    "fedllm": ["a1", "a2", "a3", "a4"],
    "kd_fedllm": ["b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"],
    "split_fedllm": ["c1", "c2", "c3", "c4", "c5", "cc1", "cc2", "cc3", "cc4"],
}
QUICK = ["--timed-rounds", "0", "--samples-per-client", "3", "--public-samples", "3"]


def invoke(*args: str) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(main, list(args))


def test_all_steps_of_the_article_are_verified(tmp_path: Path) -> None:
    """The tiny model's 21 steps agree, are named in order, and stand in the JSON."""
    out = tmp_path / "outcome.json"
    result = invoke("verify", *QUICK, "--json", str(out))
    assert result.exit_code == 0, result.output
    assert "equal to the last unit" in " ".join(result.stdout.split())
    outcomes = json.loads(out.read_text())["outcomes"]
    for outcome in outcomes:
        assert outcome["agrees"]
        steps = [row["step"] for row in outcome["steps"] if row["step"] != "setup"]
        assert steps == STEPS[outcome["framework"]]
        for row in outcome["steps"]:
            assert row["predicted"] == row["measured"]


@pytest.mark.parametrize(
    "extra",
    [
        ["--padding", "none", "--half-block", "--server-variant", "v2"],
        ["--head", "language_model", "--padding", "longest", "--checkpointing"],
        ["--model", "llama-tiny", "--weights", "random", "--payload-dtype", "bfloat16"],
        ["--split", "dirichlet", "--dirichlet-alpha", "0.1", "--rounds", "2"],
        ["--rank", "64"],
    ],
)
def test_every_choice_agrees_too(extra: list[str]) -> None:
    """Padding, heads, families, formats and partitions change counts on both sides alike."""
    result = invoke("verify", *QUICK, *extra)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--model", "gpt-2"], "Did you mean 'gpt2'"),
        (["--model", "gpt2"], "--weights random"),
        (["--cut-layer", "3"], "allowed for a cut: 1 to 2"),
        (["--rank", "0"], "0"),
        (["--target-modules", "attn.c_att"], "Did you mean 'attn.c_attn'"),
        (["--data", "bankin77"], "Did you mean 'banking77'"),
        (["--data", "banking77", "--data-dir", "no-such-folder"], "no-such-folder"),
        (["--max-tokens", "4096"], "positions"),
        (["--profile", "no-such-profile"], "fedsim calibrate"),
        (["--device", "cuda:99x"], "cuda"),
        (["--device", "tpu"], "allowed: cpu, cuda"),
        (["--weights", "pretrained", "--weights-from", "no-such-folder"], "cannot be loaded"),
    ],
)
def test_bad_input_says_what_to_type(args: list[str], message: str, tmp_path: Path) -> None:
    """A mistake ends with exit code 2, a message and no output file."""
    out = tmp_path / "outcome.json"
    result = invoke("verify", *QUICK, *args, "--json", str(out))
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not out.exists()


def test_a_finished_profile_is_not_overwritten(tmp_path: Path) -> None:
    """Calibrating into a folder with a profile needs --force."""
    (tmp_path / "profile.toml").write_text("mine")
    result = invoke("calibrate", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "--force" in result.output
    assert (tmp_path / "profile.toml").read_text() == "mine"
