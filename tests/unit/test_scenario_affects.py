"""No key is blind: what it says it affects, it moves, and nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import BaseModel

from fedsim.scenario.file.availability_table import AvailabilityTable
from fedsim.scenario.file.merge import merged
from fedsim.scenario.file.mistake import table_type
from fedsim.scenario.file.settings import OVERRIDABLE, Settings
from scenarios import SMALL, answered

_CLASSES: Final = [{"name": "a", "num_clients": 2}, {"name": "b", "num_clients": 2}]

#: The weights' format follows the computation's, and needs a device that has both.
_BFLOAT16: Final = {
    "model": {"compute_dtype": "bfloat16"},
    "device": "rtx4090",
    "server": {"device": "rtx4090"},
}
#: One slow accelerator for everybody.
_QUEUEING: Final = {"server": {"num_accelerators": 1, "device": {"slowdown": 1e4}}}
_ON_OFF: Final = {"kind": "on_off", "mean_on": "30 s", "mean_off": "30 s"}
_DIURNAL: Final = {"kind": "diurnal", "start": "1 h", "duration": "8 h"}
_BUFFERED: Final = {"policy": {"mode": "buffered", "buffer_size": 2}}
_WINDOWED: Final = {"policy": {"mode": "windowed", "window": "9 s"}}
_FAILING: Final = {"fleet": {"dropout_probability": 0.6}}
_SCHEDULE: Final = {"key": "workload.batch_size", "from_round": [2], "value": [5]}
_UNEQUAL: Final = {"device": {"slowdown_p95": 5.0}}

#: What goes with a value, for a key that another one must follow.
EXTRAS: Final[dict[str, dict[str, Any]]] = {
    "policy.mode": {"policy": {"buffer_size": 2}},
    "fleet.availability.kind": {"fleet": {"availability": {"mean_on": "30 s", "mean_off": "30 s"}}},
}
#: Another value for each key, and what else must be so for the key to matter.
CHANGES: Final[dict[str, tuple[Any, dict[str, Any]]]] = {
    "seed": (7, {}),
    "engine": ("des", {"engine": "analytic", **_QUEUEING}),
    "question": ("Why?", {}),
    "goal": ({"least": "energy"}, {}),
    "policy.exclude_unfit": (
        True,
        {
            "fleet": {
                "class": [
                    {"name": "a", "num_clients": 2},
                    {"name": "b", "num_clients": 2, "device": {"memory": "1 kB"}},
                ]
            }
        },
    ),
    "model.name": ("gpt2-medium", {"device": {"memory": "99 GB"}}),
    "model.head": ("language_model", {}),
    "model.num_classes": (6, {}),
    "model.tuning": ("full", {}),
    "model.weights_dtype": ("bfloat16", _BFLOAT16),
    "model.compute_dtype": ("bfloat16", {"device": "rtx4090", "server": {"device": "rtx4090"}}),
    "model.payload_dtype": ("float16", {}),
    "model.gradient_checkpointing": (True, {}),
    "model.dropout": (0.0, {}),
    "lora.r": (8, {}),
    "lora.alpha": (8.0, {}),
    "lora.dropout": (0.0, {}),
    "lora.target_modules": (["attn.c_attn", "mlp.c_fc"], {}),
    "lora.num_top_layers": (1, {}),
    "lora.bias": ("all", {}),
    "lora.use_rslora": (True, {}),
    "lora.init_lora_weights": ("gaussian", {}),
    "lora.shares_head": (False, {}),
    "codec.adapters": ("float16", {}),
    "codec.logits": ({"up": "bfloat16"}, {}),
    "codec.activations": ("float16", {}),
    "codec.activation_gradients": ("float16", {}),
    "workload.dataset": ("mine", {}),
    "workload.max_tokens": (10, {}),
    "workload.padding": ("max_tokens", {}),
    "workload.lengths": ([4, 6], {}),
    "workload.samples_per_client": (11, {}),
    "workload.samples_p95": (40, {}),
    "workload.samples_alpha": (0.5, {}),
    "workload.public_samples": (7, {}),
    "workload.available_samples": (1000, {}),
    "workload.batch_size": (5, {}),
    "workload.accumulation_steps": (2, {}),
    "workload.local_epochs": (2, {}),
    "workload.distillation_epochs": (2, {}),
    "workload.num_rounds": (3, {}),
    "workload.optimizer": ("sgd", {}),
    "split.cut_layer": (2, {}),
    "split.half_block": (True, {}),
    "split.server_variant": ("v2", {}),
    "split.server_order": ("interleaved", {"split": {"server_variant": "v2"}}),
    "learning.learning_rate": (0.1, {}),
    "learning.optimizer_state": ("keep", {}),
    "learning.distillation_loss": ("mae", {}),
    "learning.distillation_temperature": (3.0, {}),
    "learning.partition": ("dirichlet", {"learning": {"dirichlet_alpha": 1.0}}),
    "learning.dirichlet_alpha": (0.5, {}),
    "learning.weights": ("warm", {}),
    "learning.transfer": (True, {}),
    "learning.extrapolate": (True, {}),
    "fleet.num_clients": (9, {}),
    "fleet.class": ([{"name": "a", "num_clients": 4, "r": 2}], {}),
    "device.like": ("laptop-7840u", {}),
    "device.name": ("mine", {}),
    "device.slowdown": (2.0, {}),
    "device.slowdown_p95": (4.0, {}),
    "device.round_variation": (0.5, {}),
    "device.tf32": (True, {"device": "a100-80g-sxm"}),
    "device.compute": ("1 GFLOP/s", {}),
    "device.memory_bandwidth": ("1 GB/s", {}),
    "device.operator_time": ("1 ms", {}),
    "device.memory": ("1 kB", {}),
    "device.power": ("5 W", {}),
    "device.idle_power": ("2 W", {}),
    "device.uncertainty": (0.1, {}),
    "link.like": ("3g", {}),
    "link.name": ("mine", {}),
    "link.uplink": ("1 Mbit/s", {}),
    "link.downlink": ("1 Mbit/s", {}),
    "link.uplink_p95": ("90 Mbit/s", {}),
    "link.downlink_p95": ("90 Mbit/s", {}),
    "link.round_trip_p95": ("1 s", {}),
    "link.connection": ("new-tls", {}),
    "link.loss_probability": (0.1, {}),
    "link.transmit_power": ("1 W", {}),
    "link.receive_power": ("1 W", {}),
    "link.uplink_energy_per_mb": ("1 J", {}),
    "link.downlink_energy_per_mb": ("1 J", {}),
    "link.round_trip": ("1 s", {}),
    "link.handshake_round_trips": (2.0, {}),
    "link.initial_window": ("2 kB", {}),
    "link.payload_fraction": (0.5, {}),
    "link.message_time": ("1 s", {}),
    "server.device": ({"like": "rtx4090"}, {}),
    "server.num_accelerators": (1, {"server": {"device": {"slowdown": 1e4}}}),
    "server.discipline": ("sharing", _QUEUEING),
    "server.max_batch": (4, _QUEUEING),
    "policy.mode": ("buffered", {}),
    "policy.clients_per_round": (2, {}),
    "policy.over_selection": (0.5, {"policy": {"clients_per_round": 2}}),
    "policy.quorum": (2, {}),
    "policy.deadline": ("3 s", {}),
    "policy.min_available": (4, {"fleet": {"availability": _ON_OFF}}),
    "policy.buffer_size": (3, _BUFFERED),
    "policy.window": ("4 s", _WINDOWED),
    "policy.max_staleness": (
        0,
        {
            "policy": {"mode": "buffered", "buffer_size": 1},
            "workload": {"num_rounds": 12},
            "device": {"slowdown_p95": 8.0},
        },
    ),
    "policy.selection": ("resource", {"policy": {"clients_per_round": 1}, **_UNEQUAL}),
    "policy.retries": (3, _FAILING),
    "policy.retry_after": ("9 s", {"policy": {"retries": 3}, **_FAILING}),
    "policy.failure_timeout": ("9 min", _FAILING),
    "policy.simulates_setup": (True, {}),
    "policy.overlap": (True, {}),
    "fleet.dropout_probability": (0.6, {}),
    "fleet.availability": (_ON_OFF, {}),
    "fleet.availability.kind": ("on_off", {}),
    "fleet.availability.mean_on": ("9 s", {"fleet": {"availability": _ON_OFF}}),
    "fleet.availability.mean_off": ("9 s", {"fleet": {"availability": _ON_OFF}}),
    "fleet.availability.start": ("2 h", {"fleet": {"availability": _DIURNAL}}),
    "fleet.availability.duration": (
        "23.9 h",
        {"fleet": {"availability": {**_DIURNAL, "start": "23 h", "duration": "30 min"}}},
    ),
    "fleet.availability.spread": ("30 min", {"fleet": {"availability": _DIURNAL}}),
    "fleet.availability.daily_spread": ("30 min", {"fleet": {"availability": _DIURNAL}}),
    "fleet.availability.probability": (0.4, {"fleet": {"availability": _DIURNAL}}),
    "fleet.class.dropout_probability": (0.6, {}),
    "fleet.class.availability": (_ON_OFF, {}),
    "privacy.secure_aggregation": ("secagg", {}),
    "privacy.neighbors": (2, {"privacy": {"secure_aggregation": "secagg+"}}),
    "privacy.quantization_bits": (16, {"privacy": {"secure_aggregation": "secagg"}}),
    "privacy.differential_privacy": ("local", {}),
    "price.currency": ("EUR", {}),
    "price.per_uplink_gb": (1.0, {}),
    "price.per_downlink_gb": (1.0, {}),
    "price.per_accelerator_hour": (1.0, {}),
    "price.per_kwh": (1.0, {}),
    "server.uplink": ("1 kB/s", {}),
    "server.downlink": ("1 kB/s", {}),
    # Of real runs: no count and no time of an answer depends on them.
    "data.dataset": ("generated", {}),
    "data.public_dataset": ("clinc150", {"data": {"dataset": "banking77"}}),
    "data.test_samples": (3, {"data": {"dataset": "banking77"}}),
    "data.tokenizer": ("word", {"data": {"dataset": "banking77"}}),
    "data.seed": (3, {"data": {"dataset": "banking77"}}),
    "train.seeds": ([3], {}),
    "train.weights_from": ("gpt2", {}),
    "train.device": ("cuda", {}),
    "train.mode": ("cohort", {}),
    "train.attention": ("sdpa", {}),
    "train.server_optimizer": ("fedprox", {}),
    "train.mu": (0.1, {}),
    "train.server_learning_rate": (0.1, {}),
    "train.beta1": (0.1, {}),
    "train.beta2": (0.1, {}),
    "train.tau": (0.1, {}),
    "train.tf32": (True, {}),
    "train.evaluate": (["global"], {}),
    "train.evaluate_every": (2, {}),
    "train.checkpoint_every": (2, {}),
    "train.count_flop": (True, {}),
    "schedule": ([_SCHEDULE], {}),
    "fleet.class.name": ("z", {}),
    "fleet.class.share": (0.75, {}),
    "fleet.class.num_clients": (3, {}),
    "fleet.class.device": ({"slowdown": 3.0}, {}),
    "fleet.class.link": ({"like": "3g"}, {}),
    "fleet.class.samples_per_client": (20, {}),
    "fleet.class.r": (8, {}),
    "fleet.class.cut_layer": (2, {}),
    "fleet.class.batch_size": (2, {}),
    "fleet.class.local_epochs": (3, {}),
    "fleet.class.codec": ({"adapters": "float16", "logits": "float16"}, {}),
}

#: Files, which have tests of their own.
_FILES: Final = {
    "profile",
    "link.profile",
    "link.trace",
    "link.trace_period",
    "fleet.table",
    "fleet.class.table",
    "fleet.availability.file",
    "fleet.availability.period",
    "learning.curves",
    "learning.target_accuracy",
    "learning.budget_time",
    "learning.budget_bytes",
    "learning.budget_energy",
    "learning.budget_money",
}


def declared_keys() -> Iterator[tuple[str, set[str], Any]]:
    """Every key of a file with what it declares."""
    for name in Settings.model_fields:
        table = table_type(Settings, (name,)) if name in OVERRIDABLE else None
        if table is None:
            yield name, _affects(Settings, name), Settings.model_fields[name].annotation
            continue
        for key, field in table.model_fields.items():
            written_key = field.alias or key
            yield f"{name}.{written_key}", _affects(table, key), field.annotation
            if written_key == "availability":
                for inner_key, inner_field in AvailabilityTable.model_fields.items():
                    path = f"{name}.{written_key}.{inner_key}"
                    yield path, _affects(AvailabilityTable, inner_key), inner_field.annotation
            if written_key == "class":
                inner = table_type(Settings, ("fleet", "class"))
                assert inner is not None
                for inner_key, inner_field in inner.model_fields.items():
                    path = f"fleet.class.{inner_key}"
                    yield path, _affects(inner, inner_key), inner_field.annotation


def _affects(table: type[BaseModel], key: str) -> set[str]:
    extra = table.model_fields[key].json_schema_extra
    assert isinstance(extra, dict)
    affects = extra["affects"]
    assert isinstance(affects, list)
    return {str(word) for word in affects}


KEYS: Final = list(declared_keys())


def test_every_key_says_what_it_affects() -> None:
    """The words are cost, time, learning and label, at least one of them a key."""
    for path, affects, _ in KEYS:
        assert affects, path
        assert affects <= {"cost", "time", "learning", "label"}, path


def test_every_key_has_a_change_to_try() -> None:
    """A new key has to be given another value here."""
    assert {path for path, _, _ in KEYS} == set(CHANGES) | _FILES


@pytest.mark.parametrize(("path", "affects"), [(p, a) for p, a, _ in KEYS if p in CHANGES])
def test_a_key_moves_what_it_declares_and_nothing_else(
    tmp_path: Path, path: str, affects: set[str]
) -> None:
    """Cost, time or neither: as the declaration says."""
    value, context = CHANGES[path]
    before = merged(copy.deepcopy(SMALL), context)
    if path.startswith("fleet.class."):
        before, after = _class_change(before, path.rpartition(".")[2], value)
    else:
        after = merged(_with(before, path.split("."), value), EXTRAS.get(path, {}))

    first, second = answered(tmp_path, before), answered(tmp_path, after)

    moved = {
        name
        for name, read in (("cost", _cost), ("time", _time))
        if json.dumps(read(first)) != json.dumps(read(second))
    }
    assert moved <= affects
    if affects & {"cost", "time"}:
        assert moved


def _with(table: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    nested: Any = value
    for part in reversed(path):
        nested = {part: nested}
    return merged(table, nested)


def _class_change(
    table: dict[str, Any], key: str, value: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    classes = copy.deepcopy(_CLASSES)
    number: dict[str, Any] = {}
    if key == "share":
        # Alike but for the rank, or their shares would change no sum.
        classes = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5, "r": 2}]
        number = {"num_clients": 4}
    before = {**table, "fleet": {"class": classes, **number}}
    after_classes = copy.deepcopy(classes)
    after_classes[1][key] = value
    if key == "share":
        after_classes[0][key] = 1 - value
    return before, {**table, "fleet": {"class": after_classes, **number}}


def _cost(results: list[dict[str, Any]]) -> Any:
    keys = ("status", "setup", "server_per_round", "totals")
    prices = ("uplink", "downlink", "accelerators", "energy")
    return [
        (
            [result[key] if key != "setup" else _counts(result[key]) for key in keys],
            sorted(json.dumps(_without_energy(table)) for table in result["classes"]),
            # Whether it has a price; how much follows the time.
            [(result["money"] or {}).get(name) is not None for name in prices],
        )
        for result in results
    ]


def _without_energy(client_class: dict[str, Any]) -> dict[str, Any]:
    # Energy is power times time, and goes with the time.
    return {k: v for k, v in client_class["per_client_round"].items() if k != "energy_j"}


def _counts(table: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if not name.endswith("_s")}


def _time(results: list[dict[str, Any]]) -> Any:
    keys = ("round_time_s", "makespan_s")
    return [
        (
            [result[key] for key in keys],
            result["setup"]["transfer_s"],
            sorted(str(table["per_client_round"]["energy_j"]) for table in result["classes"]),
            (result["energy"] or {}).get("total_j"),
        )
        for result in results
    ]
