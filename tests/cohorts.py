"""The same work done by a cohort and by one trainer a client, and how far the two end apart.

In 64-bit floats unless said otherwise: Adam divides by the size of a gradient, and so blows up what
rounding leaves of gradients that are nearly zero. Needs the extra ``runtime``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fedsim.protocol.operation import Part
from fedsim.runtime.cohort import CohortClient, CohortNetwork, CohortTrainer
from fedsim.runtime.keyed_dropout import MaskStream
from fedsim.runtime.options import RunOptions
from fedsim.runtime.staged_model import StagedModel
from fedsim.runtime.text_batch import TextBatch
from fedsim.runtime.trainer import Trainer
from fedsim.spec.batch import Padding
from fedsim.spec.plan import TrainingSpec
from fedsim.spec.tuning import LoraTuning
from shapes import NUM_LAYERS
from tiny import tiny_batch, tiny_model, tiny_training

__all__ = [
    "RATE",
    "WHOLE",
    "Pair",
    "batches_of_step",
    "largest_distance",
    "pair",
]

WHOLE = Part.whole(NUM_LAYERS)
RATE = RunOptions(learning_rate=0.05)


@dataclass
class Pair:
    """A cohort, and a trainer for each of its clients that begins with the same parameters."""

    cohort: CohortTrainer
    alone: list[Trainer]
    streams: list[MaskStream]

    def begin_round(self, round_index: int) -> None:
        """A new round for both."""
        self.cohort.begin_round(round_index)
        for trainer, stream in zip(self.alone, self.streams, strict=True):
            stream.begin_round(round_index)
            if trainer.options.optimizer_state == "reset":
                trainer.reset_optimizer()

    def train(
        self, batches: Sequence[TextBatch | None], is_update: bool | Sequence[bool] = True
    ) -> None:
        """One batch of each client, both ways."""
        self.cohort.train(batches, is_update=is_update)
        for slot, batch in enumerate(batches):
            if batch is not None:
                turn = is_update if isinstance(is_update, bool) else is_update[slot]
                self.alone[slot].train(batch, is_update=turn)

    def distance(self) -> float:
        """The largest difference of any trained value of any client."""
        return max(
            largest_distance(
                self.cohort.adapters(slot, with_head=True), trainer.adapters(with_head=True)
            )
            for slot, trainer in enumerate(self.alone)
        )


def pair(
    training: TrainingSpec | None = None,
    num_clients: int = 3,
    *,
    tunings: Sequence[LoraTuning] | None = None,
    options: RunOptions | Sequence[RunOptions] = RATE,
    dtype: torch.dtype = torch.float64,
    tokens_at_once: int | None = None,
) -> Pair:
    """Both ways for some clients with parameters of their own, perturbed ones."""
    training = training or tiny_training()
    assert training.lora is not None
    own_tunings = list(tunings or [training.lora] * num_clients)
    own_options = [options] * len(own_tunings) if isinstance(options, RunOptions) else options
    base = _model(training, dtype)
    clients = [
        CohortClient(f"client-{slot}", tuning, own)
        for slot, (tuning, own) in enumerate(zip(own_tunings, own_options, strict=True))
    ]
    cohort = CohortTrainer(CohortNetwork(base), clients, tokens_at_once=tokens_at_once)
    alone, streams = [], []
    for slot, client in enumerate(clients):
        model = _like(base, replace(training, tuning=client.tuning), slot)
        cohort.load(slot, {n: p.detach() for n, p in model.trained(WHOLE).items()})
        streams.append(MaskStream(client.options.seed, client.client_id))
        alone.append(Trainer(model, WHOLE, client.options, streams[-1]))
    return Pair(cohort, alone, streams)


def batches_of_step(
    step: int,
    num_clients: int = 3,
    *,
    padding: Padding = "max_tokens",
    is_labeled: bool = True,
) -> list[TextBatch | None]:
    """Batches of unequal sizes and lengths; the second of several clients ends after one step."""
    found: list[TextBatch | None] = []
    for slot in range(num_clients):
        lengths = [4, 9, 1, 4, 7, 2, 9, 3][: 2 + (slot + step) % 5]
        batch = tiny_batch(lengths, padding, seed=100 * step + slot, is_labeled=is_labeled)
        found.append(None if slot == 1 and step >= 1 else batch)
    return found


def largest_distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Over all tensors, which must come in the same order and shapes."""
    assert list(one) == list(other)
    assert all(one[name].shape == other[name].shape for name in one)
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def _model(training: TrainingSpec, dtype: torch.dtype, seed: int = 0) -> StagedModel:
    model = tiny_model(training, seed=seed)
    model.module.to(dtype)
    return model


def _like(base: StagedModel, training: TrainingSpec, slot: int) -> StagedModel:
    """A model with the base's frozen weights and trained parameters of its own."""
    dtype = next(base.module.parameters()).dtype
    model = _model(training, dtype, seed=10 + slot)
    frozen = {name: p.detach() for name, p in base.frozen(WHOLE).items()}
    model.load_frozen(frozen, WHOLE)
    return model
