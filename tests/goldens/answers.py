"""The commands whose answers must outlive a change of layout, and what of an answer is held.

Every shipped scenario and every example of the manual, small runs of every engine and a short
training of every framework. What a clock measured, versions, and words are left out: words may be
made better by any commit, figures only by one that says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["GOLDENS", "WORDS", "Golden", "held"]

#: Keys that hold words alone, which a stored answer of an older list may still have.
WORDS: Final = {"reasons", "sentences", "text", "why", "notes", "evidence"}
#: Keys that hold words, a clock's time, or what the program itself is.
_LEFT_OUT: Final = {
    "command",
    "commit",
    # Of a run, beside what was measured: the formulas' own, which every round is held against.
    "predicted",
    "compute_s",
    "evaluation_s",
    "evidence",
    "fedsim",
    "infeasible",
    "machine",
    "notes",
    "reason",
    "reasons",
    "engine_reason",
    "sentences",
    "text",
    "transfer_s",
    "versions",
    "warnings",
    "why",
}


@dataclass(frozen=True)
class Golden:
    """One command.

    Attributes
    ----------
    name : str
    arguments : tuple of str
        Of ``fedsim``, run in the root of the repository; ``{out}`` stands for where it writes.
    before_one_format : tuple of str
        The same of a commit at which a training file was no scenario; empty where nothing differs.
    """

    name: str
    arguments: tuple[str, ...]
    before_one_format: tuple[str, ...] = ()

    def arguments_at(self, tree: Path) -> tuple[str, ...]:
        """The command of a tree; ``{file}`` of an old format stands in this one."""
        is_one = (tree / "fedsim/scenario/file/training_tables.py").is_file()
        return self.arguments if is_one else self.before_one_format or self.arguments

    def is_of(self, tree: Path) -> bool:
        """Whether a tree has what is asked: scenarios are added."""
        file = self.arguments_at(tree)[1]
        return not file.endswith(".toml") or (tree / file).is_file()


def held(path: Path) -> Any:
    """What of a file that a command wrote is compared: a JSON document, or lines of them."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [_figures(json.loads(line), is_measured=True) for line in text.splitlines()]
    return _figures(json.loads(text), is_measured=False)


def _figures(value: Any, *, is_measured: bool) -> Any:
    if isinstance(value, dict):
        return {
            key: _figures(below, is_measured=is_measured)
            for key, below in value.items()
            # Simulated seconds are an answer; seconds of a run are a clock's.
            if key not in _LEFT_OUT or (not is_measured and key in ("compute_s", "transfer_s"))
        }
    if isinstance(value, list):
        return [_figures(below, is_measured=is_measured) for below in value]
    return value


def _scenario(name: str, file: str, *more: str) -> Golden:
    return Golden(name, ("scenario", file, *more, "--json", "{out}/answer.json"))


def _shipped() -> Iterator[Golden]:
    root = Path(__file__).parents[2]
    for path in sorted((root / "scenarios").glob("*.toml")):
        # A million clients take a minute a round; ten thousand take the same way.
        cut = ("fleet.num_clients=10000", "workload.num_rounds=3") if path.stem == "million" else ()
        sets = [word for key in cut for word in ("--set", key)]
        yield _scenario(path.stem, f"scenarios/{path.name}", *sets)
    for path in sorted((root / "docs/examples").glob("*.toml")):
        yield _scenario(f"example-{path.stem}", f"docs/examples/{path.name}")


def _engines() -> Iterator[Golden]:
    small = ("--set", "fleet.num_clients=20", "--set", "workload.num_rounds=3", "--seeds", "2")
    at_night = (
        *("--set", "fleet.num_clients=300", "--set", "workload.num_rounds=3", "--seeds", "2"),
        *("--set", "policy.clients_per_round=10"),
    )
    for engine in ("des", "scale"):
        for file, sets in (
            ("half_fleet_lte", small),
            ("stragglers", small),
            ("overnight", at_night),
        ):
            yield _scenario(f"{engine}-{file}", f"scenarios/{file}.toml", *sets, "--engine", engine)
        yield _scenario(
            f"{engine}-shared-model",
            "scenarios/half_fleet_lte.toml",
            *small,
            "--engine",
            engine,
            "--set",
            "split.server_variant=v2",
        )
    yield _scenario(
        "sampled-half_fleet_lte",
        "scenarios/half_fleet_lte.toml",
        "--set",
        "fleet.num_clients=2000",
        "--set",
        "workload.available_samples=10000000",
        "--set",
        "workload.num_rounds=2",
        "--engine",
        "sampled",
        "--seeds",
        "1",
    )


def _trainings() -> Iterator[Golden]:
    file = "tests/goldens/training/small.toml"
    old_file = str(Path(__file__).parent / "training/before_one_format.toml")
    fed_adam = ("train.server_optimizer=fedadam", "train.server_learning_rate=0.01")
    choices: dict[str, tuple[str, str, tuple[str, ...]]] = {
        "fedllm": ("fedllm", "fedllm", ()),
        "kd_fedllm": ("kd", "kd_fedllm", ()),
        "split_fedllm": ("split", "split_fedllm", ()),
        "split_fedllm-v2": ("split", "split_fedllm", ("split.server_variant=v2",)),
        "fedadam": ("fedllm", "fedllm", fed_adam),
    }
    for name, (case, framework, keys) in choices.items():
        modes = ("sequential",) if name.endswith("v2") else ("sequential", "cohort")
        for mode in modes:
            sets = [word for key in (*keys, f"train.mode={mode}") for word in ("--set", key)]
            more = (*sets, "--output", "{out}/run")
            old = ("train", old_file, "--set", f"train.framework={framework}", *more)
            yield Golden(f"train-{name}-{mode}", ("train", file, "--case", case, *more), old)


GOLDENS: Final[tuple[Golden, ...]] = (*_shipped(), *_engines(), *_trainings())
