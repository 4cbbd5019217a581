"""``fedsim verify`` and ``fedsim calibrate`` as a user types them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedsim.cli import main
from fedsim.cli.verify import _KEY_OF_OPTION
from fedsim.scenario.file.mistake import key_names, table_type
from fedsim.scenario.file.override import parse_override
from fedsim.scenario.file.settings import Settings
from training_file import training_file

STEPS = {
    "fedllm": ["a1", "a2", "a3", "a4"],
    "kd_fedllm": ["b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"],
    "split_fedllm": ["c1", "c2", "c3", "c4", "c5", "cc1", "cc2", "cc3", "cc4"],
}
SMALL = ("workload.samples_per_client=3", "workload.public_samples=3")


def sets(*keys: str) -> list[str]:
    """Options that set keys."""
    return [word for key in keys for word in ("--set", key)]


QUICK = ["--timed-rounds", "0", *sets(*SMALL)]


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
        sets("workload.padding=none", "split.half_block=true", "split.server_variant=v2"),
        sets(
            "model.head=language_model",
            "workload.padding=longest",
            "model.gradient_checkpointing=true",
        ),
        sets("model.name=llama-tiny", "model.payload_dtype=bfloat16"),
        [*sets("learning.partition=dirichlet", "learning.dirichlet_alpha=0.1"), "--rounds", "2"],
        sets("lora.r=64", "lora.target_modules=attn.c_attn"),
    ],
)
def test_every_choice_agrees_too(extra: list[str]) -> None:
    """Padding, heads, families, formats and partitions change counts on both sides alike."""
    result = invoke("verify", *QUICK, *extra)
    assert result.exit_code == 0, result.output


def test_a_file_of_ones_own_is_verified(tmp_path: Path) -> None:
    """The one that is trained too: the case that was named, or a framework under its tables."""
    file, out = training_file(tmp_path), tmp_path / "out.json"
    quick = ["--timed-rounds", "0", "--json", str(out)]
    result = invoke("verify", str(file), "--case", "kd_fedllm", *quick)
    assert result.exit_code == 0, result.output
    (outcome,) = json.loads(out.read_text())["outcomes"]
    assert (outcome["case"], outcome["framework"]) == ("kd_fedllm", "kd_fedllm")
    logits = next(step for step in outcome["steps"] if step["step"] == "b3")
    assert logits["measured"]["uplink_payload_bytes"] == 2 * 5 * 4 * 4
    result = invoke("verify", str(file), "--framework", "split_fedllm", *quick)
    assert result.exit_code == 0, result.output
    assert json.loads(out.read_text())["outcomes"][0]["framework"] == "split_fedllm"


@pytest.mark.parametrize(("option", "key"), list(_KEY_OF_OPTION.items()))
def test_an_option_that_became_a_key_names_it(option: str, key: str) -> None:
    """And each is a key that the file takes."""
    result = invoke("verify", option, "3")
    assert result.exit_code == 2
    assert f"{option}: what is verified stands in a scenario file; write --set {key}=VALUE." in (
        " ".join(result.output.split())
    )
    parse_override(f"{key}=3")
    *tables, name = key.split(".")
    table = table_type(Settings, tables) if tables else Settings
    assert table is not None
    assert name in key_names(table)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (sets("model.name=gpt-2"), "Did you mean 'gpt2'"),
        (["--case", "fedlm"], "--case fedlm: no such case; there are fedllm, kd, split"),
        (["--framework", "fedlm"], "--framework fedlm: allowed: fedllm"),
        (sets("split.cut_layer=3"), "allowed for a cut: 1 to 2"),
        (sets("lora.r=0"), "[lora] r = 0"),
        (sets("lora.target_modules=attn.c_att"), "Did you mean 'attn.c_attn'"),
        (sets("data.dataset=bankin77"), "Did you mean 'banking77'"),
        ([*sets("data.dataset=banking77"), "--data-dir", "no-such-folder"], "no-such-folder"),
        (sets("workload.max_tokens=4096"), "positions"),
        (["--profile", "no-such-profile"], "fedsim calibrate"),
        (sets("train.device=tpu"), "allowed: 'cpu', 'cuda' or 'auto'"),
        (sets("train.attention=sdpa"), 'write attention = "eager"'),
        (sets("learning.weights=pretrained", "train.weights_from=./no-such"), "cannot be loaded"),
        (["no-such-file.toml"], "there is no such file, and no shipped scenario of that name"),
        (["small_study"], "[data] is missing; a run reads texts"),
        (["--no-such-option"], "No such option"),
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
