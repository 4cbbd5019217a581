"""How well a model does on the test rows, without a position of padding.

Rows go through the model in batches of one length each, so that nothing but real tokens is
computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from fedsim.protocol.operation import Part
from fedsim.runtime.data import EncodedDataset
from fedsim.runtime.meter import metered
from fedsim.runtime.options import RunOptions
from fedsim.runtime.staged_model import StagedModel
from fedsim.runtime.text_batch import TextBatch, TextSource
from fedsim.runtime.trainer import Trainer
from fedsim.spec.batch import BatchShape

__all__ = ["Evaluation", "Evaluator"]

#: Positions of one batch: enough to keep a GPU busy, and few enough for their activations.
_MAX_POSITIONS: Final = 8192
#: Logits of one batch, of which a language model has a whole vocabulary at every position.
_MAX_LOGITS: Final = 1 << 26


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model's result on all test rows.

    Attributes
    ----------
    loss : float
        Mean cross entropy: over samples, or over next tokens of a language model.
    accuracy : float
        Fraction whose largest logit is the right one.
    num_targets : int
        Samples, or next tokens.
    flop : int
        As metered; 0 where nothing was counted.
    seconds : float
    """

    loss: float
    accuracy: float
    num_targets: int
    flop: int
    seconds: float


class Evaluator:
    """Judges sets of parameters on the same rows.

    Parameters
    ----------
    model : StagedModel
        Its frozen weights are shared, its trained ones copied.
    rows : EncodedDataset
    pad_token_id : int
    counts_flop : bool
    """

    def __init__(
        self,
        model: StagedModel,
        rows: EncodedDataset,
        pad_token_id: int,
        *,
        counts_flop: bool = False,
    ) -> None:
        self.rows = rows
        self.counts_flop = counts_flop
        whole = Part.whole(model.training.model.num_layers)
        self._trainer = Trainer(model.clone(), whole, RunOptions())
        self._source = TextSource(rows, "none", pad_token_id)
        self._is_classifier = model.training.head.kind == "classification"
        limit = _MAX_POSITIONS
        if not self._is_classifier:
            limit = min(limit, _MAX_LOGITS // model.training.model.vocab_size)
        self._batches = _equal_length_batches(rows, limit)

    @property
    def shapes(self) -> tuple[BatchShape, ...]:
        """Every batch in counts, to say what an evaluation costs."""
        return tuple(
            BatchShape.unpadded([int(self.rows.lengths[row]) for row in batch])
            for batch in self._batches
        )

    def evaluate(self, parameters: dict[str, Tensor]) -> Evaluation:
        """Loss and accuracy with these trained parameters."""
        trainer = self._trainer
        trainer.load(parameters)
        loss, right, targets = 0.0, 0, 0
        with metered(trainer.model.device, counts_flop=self.counts_flop) as reading:
            for rows in self._batches:
                batch = self._source.batch(rows, trainer.model.device)
                logits, wanted = self._scored(batch)
                # Summed in 64 bits: thousands of rows would else lose digits to each other.
                losses = functional.cross_entropy(logits.float(), wanted, reduction="none")
                loss += float(losses.to(torch.float64).sum())
                right += int((logits.argmax(-1) == wanted).sum())
                targets += len(wanted)
        return Evaluation(
            loss / max(1, targets),
            right / max(1, targets),
            targets,
            reading.flop,
            reading.seconds,
        )

    def _scored(self, batch: TextBatch) -> tuple[Tensor, Tensor]:
        """Logits of every target, and the targets."""
        logits = self._trainer.infer(batch, all_positions=False)
        if self._is_classifier:
            assert batch.labels is not None
            return logits, batch.labels
        logits = logits.view(*batch.token_ids.shape, -1)
        return logits[:, :-1].flatten(0, 1), batch.token_ids[:, 1:].flatten()


def _equal_length_batches(rows: EncodedDataset, max_positions: int) -> list[list[int]]:
    lengths = rows.lengths.tolist()
    batches: list[list[int]] = []
    order = sorted(range(rows.num_rows), key=lambda row: (lengths[row], row))
    for length, group in groupby(order, key=lambda row: lengths[row]):
        members, size = list(group), max(1, max_positions // length)
        batches.extend(members[start : start + size] for start in range(0, len(members), size))
    return batches
