"""How well several sets of parameters do on the same rows: the global model, each client's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from fedsim.runtime.cohort.client import CohortClient
from fedsim.runtime.cohort.cohort_trainer import CohortTrainer
from fedsim.runtime.cohort.network import CohortNetwork
from fedsim.runtime.data import EncodedDataset
from fedsim.runtime.text_batch import TextBatch, TextSource
from fedsim.spec.tuning import LoraTuning

__all__ = ["SetScore", "evaluate_sets"]

#: Tokens of one batch, all sets together.
_MAX_TOKENS: Final = 8192
#: Logits of one batch, of which a language model has a whole vocabulary for every token.
_MAX_LOGITS: Final = 1 << 26


@dataclass(frozen=True, slots=True)
class SetScore:
    """One set's result on all rows.

    Attributes
    ----------
    loss : float
        Mean cross entropy: over samples, or over next tokens of a language model.
    accuracy : float
        Fraction whose largest logit is the right one.
    num_targets : int
        Samples, or next tokens.
    """

    loss: float
    accuracy: float
    num_targets: int


def evaluate_sets(
    network: CohortNetwork,
    sets: Sequence[tuple[LoraTuning, Mapping[str, Tensor]]],
    rows: EncodedDataset,
    pad_token_id: int,
) -> list[SetScore]:
    """Loss and accuracy of sets of trained parameters.

    Parameters
    ----------
    network : CohortNetwork
    sets : sequence of (LoraTuning, mapping)
        Parameters by the name under which they are sent, and how they were tuned.
    rows : EncodedDataset
        Every set is judged on all of them; blocks below the lowest adapter see each row once.
    pad_token_id : int
    """
    clients = [CohortClient(f"set-{place}", tuning) for place, (tuning, _) in enumerate(sets)]
    cohort = CohortTrainer(network, clients)
    for slot, (_, tensors) in enumerate(sets):
        cohort.load(slot, tensors)
    source = TextSource(rows, "none", pad_token_id)
    limit = _MAX_TOKENS // len(sets)
    if not network.is_classifier:
        limit = min(limit, _MAX_LOGITS // network.spec.vocab_size // len(sets))
    losses, right, num_targets = [0.0] * len(sets), [0] * len(sets), 0
    for members in _batches(rows, limit):
        batch = source.batch(members, network.model.device)
        scored, wanted = _targets(batch, is_classifier=network.is_classifier)
        num_targets += len(wanted)
        for slot, found in enumerate(cohort.infer(batch)):
            assert found is not None
            logits = found if scored is None else found[scored]
            each = functional.cross_entropy(logits.float(), wanted, reduction="none")
            # Summed in 64 bits: thousands of rows would else lose digits to each other.
            losses[slot] += float(each.to(torch.float64).sum())
            right[slot] += int((logits.argmax(-1) == wanted).sum())
    count = max(1, num_targets)
    return [
        SetScore(loss / count, hits / count, num_targets)
        for loss, hits in zip(losses, right, strict=True)
    ]


def _batches(rows: EncodedDataset, max_tokens: int) -> Iterator[list[int]]:
    """Rows by rising length, so that many are of one length."""
    members: list[int] = []
    num_tokens = 0
    for row in sorted(range(rows.num_rows), key=lambda row: (int(rows.lengths[row]), row)):
        length = int(rows.lengths[row])
        if members and num_tokens + length > max_tokens:
            yield members
            members, num_tokens = [], 0
        members.append(row)
        num_tokens += length
    if members:
        yield members


def _targets(batch: TextBatch, *, is_classifier: bool) -> tuple[Tensor | None, Tensor]:
    """Rows of the logits that are judged (None: all), and what they should say."""
    if is_classifier:
        assert batch.labels is not None
        return None, batch.labels
    places = torch.arange(batch.token_ids.shape[1], device=batch.token_ids.device)
    is_real = places <= batch.last_index[:, None]
    has_next = (places < batch.last_index[:, None])[is_real]
    is_next = is_real & (places > 0)
    return torch.nonzero(has_next).flatten(), batch.token_ids[is_next]
