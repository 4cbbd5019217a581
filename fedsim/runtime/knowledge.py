"""Logits on the public data set: made batch by batch, sent whole, distilled batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor

from fedsim.errors import ProtocolError
from fedsim.runtime.text_batch import TextBatch, TextSource
from fedsim.runtime.trainer import Trainer
from fedsim.spec.plan import TrainingSpec

__all__ = ["KnowledgeBuffer"]


class KnowledgeBuffer:
    """One party's logits: its own and those that it distils from.

    Parameters
    ----------
    public : TextSource
        The public data set, visited in its own order.
    training : TrainingSpec
    """

    def __init__(self, public: TextSource, training: TrainingSpec) -> None:
        self.public = public
        self.is_classifier = training.head.kind == "classification"
        self._dtype: torch.dtype = getattr(torch, training.numerics.compute_dtype)
        self.teacher: Tensor | None = None
        self._own: list[Tensor] = []
        self._cursor = 0
        self._last: TextBatch | None = None

    @property
    def last_batch(self) -> TextBatch:
        """The batch that was computed on last."""
        assert self._last is not None
        return self._last

    @property
    def is_complete(self) -> bool:
        """Whether every pass over the public set went to its end."""
        return self._cursor == 0

    def infer(self, trainer: Trainer, num_samples: int) -> None:
        """Compute the logits of the next public samples."""
        batch = self.next_inference(num_samples, trainer.model.device)
        self.keep(trainer.infer(batch, all_positions=self._has_padding))

    def distill(self, trainer: Trainer, num_samples: int, *, is_update: bool) -> None:
        """Train towards the teacher's logits on the next public samples."""
        batch, teacher = self.next_distillation(num_samples, trainer.model.device)
        trainer.distill(batch, teacher, is_update=is_update)

    def next_inference(self, num_samples: int, device: torch.device) -> TextBatch:
        """The next public samples, whose logits somebody computes and :meth:`keep` takes."""
        if self._cursor == 0:
            self._own = []
        batch, _ = self._next(num_samples, device)
        return batch

    def keep(self, logits: Tensor) -> None:
        """Take the logits of the batch that was handed out last."""
        self._own.append(logits)

    def next_distillation(self, num_samples: int, device: torch.device) -> tuple[TextBatch, Tensor]:
        """The next public samples, and the teacher's rows for them."""
        assert self.teacher is not None
        batch, start = self._next(num_samples, device)
        return batch, self._rows(batch, start)

    def message(self) -> dict[str, Tensor]:
        """All own logits as one message, as they were computed; empty where the public set is."""
        if not self._own:
            return {}
        return {"logits": torch.cat(self._own).to(self._dtype)}

    def receive(self, tensors: dict[str, Tensor]) -> None:
        """Take the logits to distil from."""
        self.teacher = tensors.get("logits")

    @property
    def own(self) -> Tensor:
        """All own logits."""
        return torch.cat(self._own)

    @property
    def _has_padding(self) -> bool:
        # A language model's logits travel for every position only where all texts are padded alike.
        return not self.is_classifier and self.public.padding == "max_tokens"

    def _next(self, num_samples: int, device: torch.device) -> tuple[TextBatch, int]:
        start, num_rows = self._cursor, self.public.data.num_rows
        if start + num_samples > num_rows:
            raise ProtocolError(
                f"the protocol asks for public samples {start} to {start + num_samples - 1} and "
                f"there are {num_rows}: a pass over the public set ends with it."
            )
        rows = list(range(start, start + num_samples))
        self._cursor = (start + num_samples) % num_rows
        self._last = self.public.batch(rows, device)
        return self._last, start

    def _rows(self, batch: TextBatch, start: int) -> Tensor:
        assert self.teacher is not None
        first, num_rows = start, batch.num_samples
        if not self.is_classifier and not self._has_padding:
            first = int(self.public.data.lengths[:start].sum())
            num_rows = int((batch.last_index + 1).sum())
        if first + num_rows > len(self.teacher):
            raise ProtocolError(
                f"received logits have {len(self.teacher)} rows and row {first + num_rows - 1} is "
                "needed: some public samples were left unused."
            )
        return self.teacher[first : first + num_rows]
