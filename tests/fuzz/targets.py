"""What is fuzzed: files that are right, and what reads them.

A target writes one damaged file into a folder and reads it as a command would. It may raise a
:class:`~fedsim.errors.FedsimError`, and nothing else. Nothing is measured or trained here.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

from fedsim.calibration.link.profile import find_link_profile, load_link_profile
from fedsim.calibration.measurements import read_csv
from fedsim.calibration.plan_file import read_plan
from fedsim.calibration.profile import load_profile
from fedsim.learning import read_curves, read_laws
from fedsim.report.scenario.report import scenario_report
from fedsim.resources import resource_dir
from fedsim.runtime.data.banking77 import load_banking77
from fedsim.scenario import answer_json, run_scenario
from fedsim.scenario.file.document import read_document, scenario_names
from fedsim.scenario.file.merge import merged
from fedsim.spec.model_config import read_model_config
from fedsim.training.file import read_training
from fuzz.impossible import impossible_numbers
from fuzz.keys import with_likely_keys
from fuzz.mutation import damaged_bytes, damaged_csv, damaged_table, json_bytes, toml_bytes
from scenarios import SMALL

__all__ = ["TARGETS", "Target"]

#: Writes a file and reads it; impossible numbers that came of it, a line each.
Target = Callable[[Path, Random], Iterator[str]]

_ROOT: Final = Path(__file__).parents[2]
_CSV: Final = {
    "clients.csv": "uplink_mbit_per_s,slowdown,samples\n1,1,3\n20,2,9\n5,1.5,4\n",
    "rates.csv": "time_s,factor\n0,1\n10,0.5\n60,2\n",
    "stays.csv": "client,start_s,end_s\na,0,10\nb,5,20\nb,30,50\n",
}
_FILES: Final[dict[str, Any]] = {
    "clients.csv": {"fleet": {"table": "clients.csv"}},
    "rates.csv": {"link": {"trace": "rates.csv", "trace_period": "1 h"}},
    "stays.csv": {
        "fleet": {"availability": {"kind": "trace", "file": "stays.csv", "period": "1 min"}}
    },
}
_CONTEXTS: Final[tuple[dict[str, Any], ...]] = (
    {},
    *_FILES.values(),
    {"policy": {"clients_per_round": 2, "deadline": "1 h", "over_selection": 0.5}},
    {"policy": {"mode": "buffered", "buffer_size": 2, "clients_per_round": 3}},
    {"policy": {"mode": "windowed", "window": "1 s"}, "fleet": {"dropout_probability": 0.3}},
    {"fleet": {"availability": {"kind": "diurnal", "start": "22 h", "duration": "7 h"}}},
    {"split": {"server_variant": "v2", "server_order": "interleaved"}, "server": {"max_batch": 3}},
    {"workload": {"samples_p95": 40}, "device": {"slowdown_p95": 3.0, "round_variation": 0.2}},
    {"privacy": {"secure_aggregation": "secagg+", "differential_privacy": "central"}},
    {"price": {"currency": "EUR", "per_kwh": 0.3, "per_uplink_gb": 1.0}},
    {
        "device": {
            "like": None,
            "compute": "1 TFLOP/s",
            "memory_bandwidth": "10 GB/s",
            "operator_time": "10 us",
            "memory": "1 GB",
        }
    },
    {
        "fleet": {
            "num_clients": 6,
            "class": [
                {"name": "a", "share": 0.5, "device": "rpi5-8g", "cut_layer": 2},
                {"name": "b", "share": 0.5, "link": {"like": "3g", "uplink": "1 Mbit/s"}, "r": 2},
            ],
        }
    },
)
_CONFIGS: Final[tuple[dict[str, Any], ...]] = (
    {
        **{"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
        **{"vocab_size": 100, "activation_function": "gelu_new", "architectures": ["GPT2Model"]},
    },
    {
        **{"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "head_dim": 8},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64},
        **{"max_position_embeddings": 128, "vocab_size": 100, "tie_word_embeddings": True},
        **{"layer_types": ["full_attention", "full_attention"], "rope_scaling": {"factor": 2.0}},
    },
    {
        "model_type": "llava",
        "text_config": {
            **{"model_type": "qwen2", "hidden_size": 32, "num_hidden_layers": 2},
            **{"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64},
            **{"max_position_embeddings": 128, "vocab_size": 100, "attention_bias": False},
        },
    },
)
_PLAN: Final[dict[str, Any]] = {
    "num_passes": 3,
    "shape": [
        {"num_layers": n, "hidden_size": 64, "batch_size": 2, "num_tokens": 16, "r": 4}
        for n in (2, 3, 4)
    ],
}


_ENDPOINT: Final = dict.fromkeys(
    ("fedsim", "operating_system", "congestion_control", "slow_start_after_idle"), "x"
)
_LINK: Final[dict[str, Any]] = {
    "schema": 1,
    "fedsim": "0.1.0",
    "name": "home",
    "here": _ENDPOINT,
    "there": _ENDPOINT,
    "provenance": {
        **{"command": "fedsim calibrate link", "date": "2026-01-01", "plan": "x"},
        **{"num_passes": 3, "largest_bytes": 1000, "num_messages": 100, "duration_s": 1.0},
    },
    "fit": {
        **{"uplink_bytes_per_s": 1e6, "downlink_bytes_per_s": 2.5e6, "round_trip_s": 0.04},
        **{"handshake_round_trips": 1.0, "initial_window_bytes": 14480, "message_s": 1e-5},
        **{"slow_start_visible": True, "restarts_after_idle": "yes"},
    },
    "quality": {
        **dict.fromkeys(("noise_median", "noise_p95", "held_out_median", "held_out_p95"), 0.01),
        **dict.fromkeys(("held_out_max", "held_out_bias", "held_out_new_median"), 0.02),
        **dict.fromkeys(("held_out_new_max", "held_out_reused_median"), 0.02),
        **{"held_out_reused_max": 0.02, "num_points": 10, "held_out_by": "size"},
    },
}


def _answered(path: Path) -> Iterator[str]:
    """Answer a scenario as the command does, and look at every number."""
    answer = run_scenario(path)
    table = json.loads(answer_json([answer]))
    scenario_report(answer.table)
    yield from impossible_numbers(table["scenarios"], path.name)


def _written(path: Path, table: dict[str, Any], draw: Random, form: str = "toml") -> Path:
    """A damaged table as a file, in one of four cases with damaged bytes too."""
    write = toml_bytes if form == "toml" else json_bytes
    is_torn = draw.random() < 0.25
    content = write(table if is_torn else damaged_table(table, draw))
    path.write_bytes(damaged_bytes(content, draw) if is_torn else content)
    return path


def _base(draw: Random) -> dict[str, Any]:
    framework = draw.choice(("fedllm", "kd_fedllm", "split_fedllm"))
    case = {"case": [{"name": "x", "framework": framework}]}
    return merged(merged(SMALL, draw.choice(_CONTEXTS)), case)


def _csv_files(folder: Path) -> None:
    for name, text in _CSV.items():
        (folder / name).write_text(text, encoding="utf-8")


def scenario_file(folder: Path, draw: Random) -> Iterator[str]:
    """A scenario with keys of every kind."""
    _csv_files(folder)
    yield from _answered(_written(folder / "x.toml", _base(draw), draw))


def likely_scenario(folder: Path, draw: Random) -> Iterator[str]:
    """A scenario of keys and values that are allowed one by one."""
    _csv_files(folder)
    path = folder / "x.toml"
    path.write_bytes(toml_bytes(with_likely_keys(_base(draw), draw)))
    yield from _answered(path)


def shipped_scenario(folder: Path, draw: Random) -> Iterator[str]:
    """A shipped scenario, cut to few clients and rounds, extended by a damaged file."""
    name = draw.choice([name for name in scenario_names() if name != "million"])
    table = read_document(name).table
    workload = {"num_rounds": 2, "samples_per_client": 20}
    small: dict[str, Any] = {"fleet": {"num_clients": 6}, "workload": workload}
    table = merged(table, small)
    table.setdefault("policy", {}).pop("clients_per_round", None)
    for case in table.get("case", ()):
        case.pop("sweep", None)
    if draw.random() < 0.6:
        table = with_likely_keys(table, draw)
    yield from _answered(_written(folder / "x.toml", table, draw))


def scenario_table(folder: Path, draw: Random) -> Iterator[str]:
    """A CSV file that a scenario names."""
    _csv_files(folder)
    name = draw.choice(list(_FILES))
    text = damaged_csv(_CSV[name], draw).encode()
    (folder / name).write_bytes(damaged_bytes(text, draw) if draw.random() < 0.3 else text)
    table = merged(SMALL, _FILES[name])
    table["case"] = [{"name": "x", "framework": "fedllm"}]
    path = folder / "x.toml"
    path.write_bytes(toml_bytes(table))
    yield from _answered(path)


def profile_file(folder: Path, draw: Random) -> Iterator[str]:
    """A measured profile, read and used."""
    source = resource_dir("calibrate") / "cpu-2-threads"
    shutil.copy(source / "measurements.csv", folder)
    table = _toml(source / "profile.toml")
    _written(folder / "profile.toml", table, draw)
    load_profile(folder / "profile.toml")
    scenario = merged(SMALL, {"profile": ".", "device": {"like": "profile"}})
    path = folder / "x.toml"
    path.write_bytes(toml_bytes(scenario))
    yield from _answered(path)


def measurement_file(folder: Path, draw: Random) -> Iterator[str]:
    """Measurements as they are read ahead of a fit."""
    text = "\n".join(_text("measurements.csv").splitlines()[:40])
    damaged = damaged_csv(text, draw).encode("utf-8", "surrogatepass")
    path = folder / "measurements.csv"
    path.write_bytes(damaged_bytes(damaged, draw) if draw.random() < 0.2 else damaged)
    try:
        read = path.read_bytes().decode()
    except UnicodeDecodeError:
        # Whoever reads the file says so; what is fuzzed is the table.
        return
    for visit in read_csv(read, str(path)):
        for seconds in visit.seconds.values():
            if min(seconds) <= 0:
                yield f"seconds = {seconds}"


def link_profile_file(folder: Path, draw: Random) -> Iterator[str]:
    """A measured link, with the checksum that belongs to what is damaged."""
    body = b"mode,seconds\nnew,0.1\n"
    (folder / "link_measurements.csv").write_bytes(body)
    raw = {"file": "link_measurements.csv", "sha256": hashlib.sha256(body).hexdigest()}
    table = damaged_table({**_LINK, "raw": raw}, draw)
    checksum = hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()
    content = toml_bytes({"checksum": checksum, **table})
    is_torn = draw.random() < 0.2
    (folder / "link.toml").write_bytes(damaged_bytes(content, draw) if is_torn else content)
    load_link_profile(find_link_profile(".", folder))
    path = folder / "x.toml"
    path.write_bytes(toml_bytes({**SMALL, "link": {"profile": "."}}))
    yield from _answered(path)


def curve_file(folder: Path, draw: Random) -> Iterator[str]:
    """Measured learning curves."""
    read_curves(_written(folder / "curves.json", _json("learning/curves.json"), draw, "json"))
    yield from ()


def law_file(folder: Path, draw: Random) -> Iterator[str]:
    """Fitted laws, read and asked by a scenario."""
    path = _written(folder / "laws.json", _json("learning/laws.json"), draw, "json")
    read_laws(path)
    table = merged(SMALL, {"learning": {"curves": "laws.json", "target_accuracy": 0.4}})
    scenario = folder / "x.toml"
    scenario.write_bytes(toml_bytes(table))
    yield from _answered(scenario)


def training_file(folder: Path, draw: Random) -> Iterator[str]:
    """A scenario, read and checked to be run; nothing is trained."""
    paths = sorted((_ROOT / "docs" / "examples" / "training").glob("*.toml"))
    table = dict(_toml(draw.choice([path for path in paths if path.stem != "case_study"])))
    case = draw.choice(table["case"])
    read_training(str(_written(folder / "x.toml", table | {"case": [case]}, draw)))
    yield from ()


def model_file(folder: Path, draw: Random) -> Iterator[str]:
    """A config.json, read and priced."""
    path = _written(folder / "config.json", draw.choice(_CONFIGS), draw, "json")
    read_model_config(path)
    change = {"model": {"name": "config.json"}, "lora": {"target_modules": ["all-linear"]}}
    scenario = folder / "x.toml"
    scenario.write_bytes(toml_bytes(merged(SMALL, change)))
    yield from _answered(scenario)


def plan_file(folder: Path, draw: Random) -> Iterator[str]:
    """A calibration's plan."""
    read_plan(_written(folder / "plan.toml", _PLAN, draw), "cpu")
    yield from ()


def text_file(folder: Path, draw: Random) -> Iterator[str]:
    """Labeled texts, as Banking77's files hold them."""
    rows = "text,category\nWhere is my card?,card_arrival\nI lost it,lost_card\nHm?,lost_card\n"
    data = folder / "banking77"
    data.mkdir()
    (data / "categories.json").write_text('["card_arrival", "lost_card"]')
    (data / "test.csv").write_text(rows)
    damaged = damaged_csv(rows, draw).encode()
    (data / "train.csv").write_bytes(
        damaged_bytes(damaged, draw) if draw.random() < 0.4 else damaged
    )
    train, _ = load_banking77(folder)
    if len(train.texts) != len(train.labels):
        yield f"{len(train.texts)} texts and {len(train.labels)} labels"


@cache
def _text(name: str) -> str:
    return (resource_dir("calibrate") / "cpu-2-threads" / name).read_text(encoding="utf-8")


@cache
def _json(name: str) -> Any:
    return json.loads(_text(name))


@cache
def _toml(path: Path) -> Any:
    return tomllib.loads(path.read_text(encoding="utf-8"))


#: By name; scenarios have more keys than all others together.
TARGETS: Final[dict[str, Target]] = {
    "scenario": scenario_file,
    "likely scenario": likely_scenario,
    "more likely scenario": likely_scenario,
    "shipped scenario": shipped_scenario,
    "table": scenario_table,
    "profile": profile_file,
    "measurements": measurement_file,
    "link profile": link_profile_file,
    "curves": curve_file,
    "laws": law_file,
    "training": training_file,
    "model": model_file,
    "plan": plan_file,
    "texts": text_file,
}
