"""Accuracy answers only where everything that learning depends on is as it was measured."""

from __future__ import annotations

import copy
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from fedsim.learning import Laws, read_curves
from fedsim.learning.find import find_laws
from fedsim.resources import resource_dir
from fedsim.scenario import read_scenario, run_scenario
from fedsim.scenario.answer.learned import conditions, differences, learning_keys, scenario_use
from fedsim.scenario.file.merge import merged
from fedsim.study.case_study.plan import study_runs
from fedsim.training.collect import run_keys, training_use
from fedsim.training.file import TrainingDocument
from scenarios import written

_ALL: Final = ("fedllm", "kd", "split")


def small_study() -> dict[str, Any]:
    """The shipped scenario, with one result a framework."""
    path = resource_dir("scenarios") / "small_study.toml"
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    table["workload"]["public_samples"] = 2000
    # Learning does not depend on it, and whole batches are counted faster.
    table["workload"]["padding"] = "max_tokens"
    for case in table["case"]:
        del case["sweep"]
    return table


def answered(folder: Path, change: dict[str, Any]) -> dict[str, dict[str, Any]]:
    table = merged(copy.deepcopy(small_study()), change)
    return {r["name"]: r for r in run_scenario(written(folder, table)).results}


def differing(folder: Path, change: dict[str, Any]) -> dict[str, list[str]]:
    """Of each framework: what the nearest curves were measured under and the scenario has not."""
    table = merged(copy.deepcopy(small_study()), change)
    found = {}
    for entry in read_scenario(written(folder, table)).entries:
        framework = entry.case.framework.name
        use = scenario_use(framework, entry.settings, entry.federation, num_late=0)
        own = [law for law in shipped_laws().laws if law.framework == framework]
        found[entry.case.name] = min((differences(law, use) for law in own), key=len)
    return found


@cache
def shipped_laws() -> Laws:
    return find_laws("cpu-2-threads", Path())


_CLASSES: Final = [{"name": "a", "num_clients": 2}, {"name": "b", "num_clients": 1}]


def by_class(**second: Any) -> dict[str, Any]:
    return {"fleet": {"class": [_CLASSES[0], {**_CLASSES[1], **second}]}}


_BFLOAT16: Final = {"device": {"like": "rtx4090"}, "server": {"device": "rtx4090"}}

#: What was changed alone, the key that must be named, and the frameworks that depend on it.
_MATTER: Final[list[tuple[dict[str, Any], str, tuple[str, ...]]]] = [
    ({"model": {"name": "gpt2"}, "server": {"device": "a100-80g-sxm"}}, "model.name", _ALL),
    ({"model": {"num_classes": 40}}, "model.num_classes", _ALL),
    ({"model": {"tuning": "full"}}, "model.tuning", _ALL),
    ({"model": {"weights_dtype": "bfloat16", "compute_dtype": "bfloat16"}, **_BFLOAT16},
     "model.weights_dtype", _ALL),
    ({"model": {"compute_dtype": "bfloat16"}, **_BFLOAT16}, "model.compute_dtype", _ALL),
    ({"model": {"payload_dtype": "float16"}}, "model.payload_dtype", _ALL),
    ({"codec": {"adapters": "bfloat16"}}, "codec.adapters.up", _ALL),
    ({"codec": {"logits": {"down": "float16"}}}, "codec.logits.down", ("kd",)),
    ({"codec": {"activations": "float16"}}, "codec.activations.up", ("split",)),
    (by_class(codec={"adapters": {"up": "float16"}}), "codec.adapters.up", _ALL),
    ({"model": {"dropout": 0.1}}, "model.dropout", _ALL),
    ({"lora": {"alpha": 16.0}}, "lora.alpha", _ALL),
    ({"lora": {"target_modules": ["attn.c_attn", "mlp.c_fc"]}}, "lora.target_modules", _ALL),
    ({"lora": {"num_top_layers": 3}}, "lora.num_top_layers", _ALL),
    ({"lora": {"bias": "all"}}, "lora.bias", _ALL),
    ({"lora": {"shares_head": False}}, "lora.shares_head", _ALL),
    ({"lora": {"use_rslora": True}}, "lora.use_rslora", _ALL),
    ({"workload": {"dataset": "mine"}}, "workload.dataset", _ALL),
    ({"workload": {"dataset": ""}, "data": {"dataset": "clinc150"}}, "workload.dataset", _ALL),
    ({"workload": {"max_tokens": 3}}, "workload.max_tokens", _ALL),
    ({"workload": {"lengths": [5]}}, "workload.lengths", _ALL),
    ({"workload": {"samples_p95": 3000, "available_samples": 99999}, "engine": "auto"},
     "workload.samples_p95", _ALL),
    ({"workload": {"samples_alpha": 0.1}, "engine": "auto"}, "workload.samples_alpha", _ALL),
    ({"workload": {"batch_size": 8}}, "workload.batch_size", _ALL),
    ({"workload": {"accumulation_steps": 2}}, "workload.accumulation_steps", _ALL),
    ({"workload": {"local_epochs": 2}}, "workload.local_epochs", _ALL),
    ({"workload": {"optimizer": "sgd"}}, "workload.optimizer", _ALL),
    ({"workload": {"distillation_epochs": 2}}, "workload.distillation_epochs", ("kd",)),
    ({"learning": {"distillation_loss": "mae"}}, "learning.distillation_loss", ("kd",)),
    ({"learning": {"distillation_temperature": 3.0}}, "learning.distillation_temperature",
     ("kd",)),
    ({"learning": {"learning_rate": 0.01}}, "learning.learning_rate", _ALL),
    ({"learning": {"optimizer_state": "keep"}}, "learning.optimizer_state", _ALL),
    ({"learning": {"partition": "dirichlet", "dirichlet_alpha": 0.05}}, "learning.partition", _ALL),
    ({"learning": {"weights": "warm"}}, "learning.weights", _ALL),
    ({"train": {"server_optimizer": "fedprox", "mu": 0.1}}, "train.server_optimizer", _ALL),
    ({"data": {"dataset": "banking77", "tokenizer": "word"}}, "data.tokenizer", _ALL),
    ({"split": {"server_variant": "v2"}}, "split.server_variant", ("split",)),
    ({"privacy": {"differential_privacy": "local"}}, "privacy.differential_privacy", _ALL),
    ({"privacy": {"differential_privacy": "central"}}, "privacy.differential_privacy", _ALL),
    ({"privacy": {"secure_aggregation": "secagg", "quantization_bits": 16}},
     "privacy.quantization_bits", _ALL),
    ({"policy": {"mode": "buffered", "buffer_size": 1}, "engine": "auto"}, "policy.mode",
     ("fedllm",)),
    ({"policy": {"clients_per_round": 3}, "fleet": {"num_clients": 300}, "engine": "auto",
      "workload": {"available_samples": 10**7, "num_rounds": 1}},
     "policy.clients_per_round", ("fedllm",)),
    ({"policy": {"quorum": 2}, "engine": "auto"}, "policy.quorum", ("fedllm",)),
    (by_class(r=2), "lora.r", _ALL),
    (by_class(samples_per_client=20), "workload.samples_per_client", _ALL),
    (by_class(batch_size=1), "workload.batch_size", _ALL),
    (by_class(cut_layer=1), "split.cut_layer", ()),
    ({**by_class(cut_layer=1), "split": {"server_variant": "v2"}}, "split.server_variant",
     ("split",)),
    ({**by_class(dropout_probability=0.3), "engine": "auto"}, "fleet.dropout_probability", _ALL),
    ({"fleet": {"availability": {"kind": "on_off", "mean_on": "9 h", "mean_off": "1 h"}},
      "engine": "auto", "workload": {"num_rounds": 1}}, "fleet.availability.kind", ("fedllm",)),
]  # fmt: skip
#: Without an effect on what is learned, and rightly so.
_DO_NOT: Final[list[dict[str, Any]]] = [
    {"model": {"gradient_checkpointing": True}},
    {"workload": {"padding": "max_tokens"}},
    {"workload": {"padding": "longest"}},
    {"split": {"cut_layer": 1}},
    {"split": {"half_block": True}},
    {"privacy": {"secure_aggregation": "secagg"}},
    {"policy": {"simulates_setup": True}, "engine": "auto"},
    {"policy": {"deadline": "9 h"}, "engine": "auto"},
    {"policy": {"clients_per_round": 3}, "engine": "auto"},
    {"device": {"slowdown": 2.0}, "link": {"uplink": "1 Mbit/s"}},
    {"seed": 7},
    {"data": {"dataset": "banking77"}, "train": {"seeds": [3], "mode": "cohort", "tf32": True}},
]


def _label(value: object) -> str:
    return str(value)[:60]


@pytest.mark.parametrize(("change", "path", "frameworks"), _MATTER, ids=_label)
def test_a_condition_that_differs_takes_the_number_away(
    tmp_path: Path, change: dict[str, Any], path: str, frameworks: tuple[str, ...]
) -> None:
    """And is named; frameworks that do not depend on it share all conditions."""
    if frameworks == ("fedllm",):
        change = {**change, "case": [{"name": "fedllm", "framework": "fedllm"}]}
    for name, found in differing(tmp_path, change).items():
        if name in frameworks:
            assert any(line.startswith(f"{path}: ") for line in found), (name, found)
        else:
            assert found == [], name


def test_what_differs_is_no_number_but_a_reason(tmp_path: Path) -> None:
    """Noise for differential privacy, three tokens a text, other layers: each was told 61.8 %."""
    for change in (
        {"privacy": {"differential_privacy": "local"}},
        {"workload": {"max_tokens": 3}},
        {"lora": {"target_modules": ["mlp.c_fc"]}},
        by_class(r=2),
    ):
        for result in answered(tmp_path, change).values():
            assert (result["accuracy"], result["to_target"]) == (None, None)
            assert "measured under other conditions" in result["no_accuracy"]


@pytest.mark.parametrize("change", _DO_NOT, ids=_label)
def test_what_learning_does_not_depend_on_changes_no_accuracy(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    assert differing(tmp_path, change) == {"fedllm": [], "kd": [], "split": []}


def test_the_shipped_conditions_are_those_of_the_studys_plan() -> None:
    """Complete: every key that a training file has and that learning depends on."""
    path = resource_dir("calibrate") / "cpu-2-threads" / "learning" / "curves.json"
    measured = {
        (group.framework, tuple(sorted(group.conditions.items())))
        for group in read_curves(path).groups
    }
    planned = set()
    for run in study_runs("small"):
        if run.series == "split-v2":  # there was no time for it
            continue
        document = TrainingDocument.of(run.name, Path(), run.table)
        use = training_use(document.configuration())
        found = conditions(use, run_keys())
        planned.add((use.framework, tuple(sorted(found.items()))))
    assert measured == planned
    for framework, stated in measured:
        names = {name for name, _ in stated}
        assert {"model.tuning", "lora.bias", "workload.max_tokens", "model.payload_dtype"} <= names
        assert ("split.cut_layer" in names) == (framework == "split_fedllm")
        assert ("learning.distillation_loss" in names) == (framework == "kd_fedllm")


def test_what_a_run_says_of_a_scenarios_key_is_no_condition_of_its_own() -> None:
    """A data set and a device's format have one name each, whoever gives them."""
    own = {key.path for key in learning_keys() if key.path.startswith(("train.", "data."))}
    assert own == {
        *("data.public_dataset", "data.tokenizer", "data.seed"),
        *("train.seeds", "train.weights_from", "train.server_optimizer"),
        *("train.mu", "train.server_learning_rate", "train.beta1", "train.beta2", "train.tau"),
    }


def test_a_key_that_only_a_real_run_reads_says_so() -> None:
    """It is no mistake, and it changes no answer."""
    (warning,) = read_scenario("case_study", ["train.mode=cohort"]).warnings
    assert warning.endswith("only a real run reads it (fedsim train)")
