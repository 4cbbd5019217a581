"""Training configurations to be drawn: the axes, a design that covers their pairs, and hypothesis.

A configuration is a choice on every axis. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

import numpy as np
from hypothesis import strategies as st

from fedsim.spec.batch import BatchShape
from fedsim.spec.model import HeadSpec, ModelSpec
from fedsim.spec.plan import Cut, Numerics, TrainingSpec
from fedsim.spec.tuning import FullTuning, LoraTuning, Tuning
from shapes import MAX_TOKENS, NUM_CLASSES, tiny_shape

__all__ = [
    "Configuration",
    "axes",
    "batch_shapes",
    "configurations",
    "covering_design",
    "trainings",
    "uncovered_values",
]

_TRAINING_AXES: Final[dict[str, tuple[Any, ...]]] = {
    "family": ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma"),
    "has_grouped_queries": (True, False),
    "activation": ("usual", "gelu_pytorch_tanh"),
    "is_tied": (True, False),
    "head": ("classification", "language_model"),
    "tuning": ("input", "attention", "mlp", "all_linear", "top_1", "top_2_input", "full"),
    "r": (1, 2, 3),
    "bias": ("none", "all", "lora_only"),
    "lora_dropout": (0.0, 0.1),
    "model_dropout": (0.0, 0.1),
    "init_lora_weights": ("default", "gaussian"),
    "is_checkpointed": (False, True),
    "dtypes": ("float32", "autocast", "bfloat16"),
    "payload_dtype": ("float32", "float16", "bfloat16"),
    "optimizer": ("adam", "sgd"),
}
_ROUND_AXES: Final[dict[str, tuple[Any, ...]]] = {
    "padding": ("max_tokens", "longest", "none"),
    "batch_size": (2, 3, 5),
    "accumulation_steps": (1, 2, 3),
    "local_epochs": (1, 2),
    "num_samples": (2, 3, 4, 5),
    # Up and down; None is what payload_dtype says.
    "codecs": (
        (None, None),
        ("bfloat16", "float16"),
        ("largest", "delta"),
        ("delta", "identity"),
    ),
}
_OWN_AXES: Final[dict[str, dict[str, tuple[Any, ...]]]] = {
    "fedllm": {"shares_head": (True, False)},
    "kd_fedllm": {
        "shares_head": (True, False),
        "num_public": (0, 1, 2, 3, 4, 5),
        "distillation_epochs": (1, 2),
        "distillation_loss": ("kl", "mae"),
    },
    "split_fedllm": {
        # Half-blocks on the client: every cut and half cut of three blocks.
        "cut_position": (1, 2, 3, 4, 5),
        "server_variant": ("v1", "v2"),
    },
}


@dataclass(frozen=True)
class Configuration:
    """A framework with one value on each of its axes.

    Attributes
    ----------
    framework : str
    values : tuple of (str, object)
        Axis and value, in the order of :func:`axes`.
    seed : int
        Of texts and weights.
    """

    framework: str
    values: tuple[tuple[str, Any], ...]
    seed: int = 0

    def __getitem__(self, axis: str) -> Any:
        return dict(self.values)[axis]

    def get(self, axis: str, default: Any) -> Any:
        """The value on an axis, or ``default`` where the framework has no such axis."""
        return dict(self.values).get(axis, default)

    def __str__(self) -> str:
        return ", ".join(f"{axis}={value}" for axis, value in self.values)

    @property
    def model(self) -> ModelSpec:
        """The model's shape."""
        shape = tiny_shape(self["family"], is_tied=self["is_tied"])
        if not self["has_grouped_queries"]:
            shape = replace(shape, num_kv_heads=shape.num_heads)
        if self["activation"] != "usual":
            shape = replace(shape, activation=self["activation"])
        return shape

    @property
    def tuning(self) -> Tuning:
        """What is trained."""
        kind, is_gpt2 = self["tuning"], self["family"] == "gpt2"
        if kind == "full":
            return FullTuning()
        entry = ("c_attn",) if is_gpt2 else ("q_proj", "v_proj")
        attention = ("c_attn", "attn.c_proj") if is_gpt2 else ("k_proj", "o_proj")
        mlp = ("c_fc", "mlp.c_proj") if is_gpt2 else ("gate_proj", "down_proj")
        targets: dict[str, tuple[tuple[str, ...], int | None]] = {
            "input": (entry, None),
            "attention": (attention, None),
            "mlp": (mlp, None),
            "all_linear": (("all-linear",), None),
            "top_1": (("all-linear",), 1),
            "top_2_input": (entry, 2),
        }
        target_modules, num_top_layers = targets[kind]
        return LoraTuning(
            r=self["r"],
            alpha=8.0,
            dropout=self["lora_dropout"],
            target_modules=target_modules,
            num_top_layers=num_top_layers,
            bias=self["bias"],
            init_lora_weights=self["init_lora_weights"],
        )

    @property
    def numerics(self) -> Numerics:
        """Formats and checkpointing."""
        dtypes = self["dtypes"]
        return Numerics(
            weights_dtype="bfloat16" if dtypes == "bfloat16" else "float32",
            compute_dtype="float32" if dtypes == "float32" else "bfloat16",
            payload_dtype=self["payload_dtype"],
            is_checkpointed=self["is_checkpointed"],
        )

    @property
    def training(self) -> TrainingSpec:
        """Model, head, tuning and numerics."""
        return TrainingSpec(
            model=self.model,
            head=HeadSpec(self["head"], NUM_CLASSES),
            tuning=self.tuning,
            numerics=self.numerics,
            model_dropout=self["model_dropout"],
            optimizer=self["optimizer"],
        )

    @property
    def cut(self) -> Cut | None:
        """Where the model is cut, if it is."""
        position = self.get("cut_position", None)
        return None if position is None else Cut(position // 2, position % 2 == 1)

    def lengths(self, purpose: int, num_texts: int) -> tuple[int, ...]:
        """Lengths of some texts, 1 to 9 tokens each."""
        rng = np.random.default_rng([self.seed, purpose])
        return tuple(int(n) for n in rng.integers(1, MAX_TOKENS + 1, num_texts))


def axes(framework: str) -> dict[str, tuple[Any, ...]]:
    """The axes of a framework with their values."""
    return {**_TRAINING_AXES, **_ROUND_AXES, **_OWN_AXES[framework]}


def covering_design(framework: str, num_rows: int, seed: int) -> tuple[Configuration, ...]:
    """Configurations in which every two values of two axes meet, as far as ``num_rows`` allow.

    Greedy: each row is the best of some random ones, and begins with a pair that is still missing.
    Rows that are left over are random.
    """
    rng = np.random.default_rng(seed)
    values = axes(framework)
    names = list(values)
    missing = {
        ((one, a), (other, b))
        for one, other in combinations(names, 2)
        for a in range(len(values[one]))
        for b in range(len(values[other]))
    }
    rows = []
    for index in range(num_rows):
        best: dict[str, int] = {}
        best_new: set[Any] = set()
        # Sorted: the order of a set of strings changes from process to process.
        pairs = sorted(missing)
        for _ in range(30):
            row = {name: int(rng.integers(len(values[name]))) for name in names}
            if pairs:
                row.update(dict(pairs[int(rng.integers(len(pairs)))]))
            new = set(combinations([(name, row[name]) for name in names], 2)) & missing
            if not best or len(new) > len(best_new):
                best, best_new = row, new
        missing -= best_new
        chosen = tuple((name, values[name][best[name]]) for name in names)
        rows.append(Configuration(framework, chosen, seed=index))
    return tuple(rows)


def uncovered_values(
    framework: str, reached: Sequence[Configuration]
) -> dict[str, tuple[Any, ...]]:
    """Values of each axis that no configuration has; empty where all are covered."""
    found: dict[str, tuple[Any, ...]] = {}
    for axis, values in axes(framework).items():
        seen = {configuration[axis] for configuration in reached}
        if left := tuple(value for value in values if value not in seen):
            found[axis] = left
    return found


def configurations(framework: str) -> st.SearchStrategy[Configuration]:
    """Any configuration of a framework."""
    choices: Mapping[str, st.SearchStrategy[Any]] = {
        axis: st.sampled_from(values) for axis, values in axes(framework).items()
    }
    return st.builds(
        lambda values, seed: Configuration(framework, tuple(values.items()), seed),
        st.fixed_dictionaries(dict(choices)),
        st.integers(0, 1000),
    )


def trainings() -> st.SearchStrategy[TrainingSpec]:
    """Any model, head, tuning and numerics."""
    return configurations("fedllm").map(lambda configuration: configuration.training)


@st.composite
def batch_shapes(draw: st.DrawFn) -> BatchShape:
    """A mini-batch, padded or not."""
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    if draw(st.booleans()):
        return BatchShape.unpadded(lengths)
    return BatchShape.padded(len(lengths), max(lengths))


def iter_pairs(configurations: Sequence[Configuration]) -> Iterator[tuple[Any, Any]]:
    """Every two (axis, value) that occur in one configuration."""
    for configuration in configurations:
        yield from combinations(configuration.values, 2)
