"""What a verification runs: model, data, sizes. Needs no torch, so that mistakes are told first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedsim.errors import ScenarioError, nearest

__all__ = ["VerificationRequest"]

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "weights": ("random", "pretrained"),
    "head": ("classification", "language_model"),
    "split": ("iid", "dirichlet"),
    "padding": ("max_tokens", "longest", "none"),
    "server_variant": ("v1", "v2"),
    "payload_dtype": ("float32", "float16", "bfloat16"),
}
_COUNTS: Final = (
    *("num_clients", "samples_per_client", "public_samples", "max_tokens", "batch_size", "rank"),
)
_MAX_CLIENTS: Final = 100


@dataclass(frozen=True)
class VerificationRequest:
    """What a command line says; see ``fedsim verify --help`` for the words.

    Raises
    ------
    ScenarioError
        With a line for each option that has no such value.
    """

    model: str = "tiny"
    weights: str | None = None
    weights_from: str | None = None
    data_source: str = "generated"
    data_dir: Path | None = None
    head: str = "classification"
    num_clients: int = 2
    samples_per_client: int = 10
    public_samples: int = 10
    split: str = "iid"
    dirichlet_alpha: float | None = None
    max_tokens: int | None = None
    padding: str = "max_tokens"
    batch_size: int = 4
    rank: int = 8
    target_modules: str | None = None
    cut_layer: int | None = None
    half_block: bool = False
    server_variant: str = "v1"
    checkpointing: bool = False
    payload_dtype: str = "float32"
    codec: str | tuple[str, ...] = ()
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.codec, str):
            object.__setattr__(self, "codec", (self.codec,))
        lines = []
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed and not (name == "weights" and value is None):
                hint = nearest(str(value), allowed)
                lines.append(f"{name} = {value!r}: allowed: {', '.join(allowed)}.{hint}")
        for name in _COUNTS:
            value = getattr(self, name)
            if name == "max_tokens" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                lines.append(f"{name} = {value!r}: a whole number of 1 or more is needed.")
        if not lines and self.num_clients > _MAX_CLIENTS:
            lines.append(f"num_clients = {self.num_clients:,}: allowed: at most {_MAX_CLIENTS}.")
        if lines:
            raise ScenarioError("\n".join(lines))
