"""What a real run holds in memory: every party in one process, as the runtime keeps them.

A sum of categories, each from the same tables as a scenario's peak. The runtime shares the frozen
base among all parties and keeps everything else once a party.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from fedsim.cost.memory import (
    AVERAGING_BYTES,
    inference_peak_bytes,
    knowledge_bytes,
    training_memory,
    weights_bytes,
)
from fedsim.protocol.operation import Part
from fedsim.protocol.parameters import num_trainable, parameters
from fedsim.runtime.training import Mode
from fedsim.spec.batch import BatchShape
from fedsim.spec.plan import ClientPlan, TrainingSpec

__all__ = ["MemoryNeed", "memory_need"]

#: As the evaluator batches test rows.
_EVALUATED_POSITIONS = 8192
_EVALUATED_LOGITS = 1 << 26
#: Token ids are 64-bit; a text and its objects beside them, about.
_TEXT_BYTES = 400


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a run adds to the process, by category [B].

    Attributes
    ----------
    frozen : int
        The base that all parties share.
    trained : int
        Trained parameters of the server, of every client, of server-side copies and the evaluator.
    optimizer : int
        Moments of everybody who trains, with the gradients of whoever trains at once.
    messages : int
        What has arrived at the server, and its average or logits.
    passes : int
        Activations and workspace of the largest pass.
    setup : int
        Two copies of the base weights, as they are written and read in the set-up.
    data : int
        Texts and token ids.
    """

    frozen: int
    trained: int
    optimizer: int
    messages: int
    passes: int
    setup: int
    data: int

    @property
    def peak_bytes(self) -> int:
        """The larger of the set-up and of a round [B]."""
        held = self.frozen + self.trained + self.data
        return held + max(self.setup, self.optimizer + self.messages + self.passes)


def memory_need(plan: ClientPlan, num_clients: int, num_rows: int, mode: Mode) -> MemoryNeed:
    """What a run with so many equal clients needs.

    Parameters
    ----------
    plan : ClientPlan
        One client's.
    num_clients : int
    num_rows : int
        Texts that are held, of all clients, public and for tests.
    mode : {"sequential", "cohort"}
        A cohort's clients compute at once, and are held in its bank beside themselves.
    """
    training = plan.training
    whole = Part.whole(training.model.num_layers)
    at_once = num_clients if mode == "cohort" else 1
    trained = num_trainable(training, whole)
    value_bytes = _trained_bytes(training)
    one = value_bytes * trained
    copies = 2 + num_clients
    copies += num_clients if mode == "cohort" else 0
    copies += num_clients if plan.cut is not None and plan.server_variant == "v1" else 0
    moments = 2 if training.optimizer == "adam" else 0
    trainers = num_clients + (1 if plan.public_text is not None else 0)
    frozen = weights_bytes(training, whole) - one
    tokens = plan.train_epochs[0].max_tokens
    return MemoryNeed(
        frozen=frozen,
        trained=one * copies,
        optimizer=one * (moments * trainers + at_once),
        messages=_messages(plan, num_clients, one),
        passes=max(at_once * _training_pass(plan, whole), _evaluation_pass(training, tokens)),
        setup=2 * frozen,
        data=num_rows * (8 * tokens + _TEXT_BYTES),
    )


def _messages(plan: ClientPlan, num_clients: int, trained_bytes: int) -> int:
    if plan.public_text is not None:
        own, averaging = knowledge_bytes(plan, num_clients)
        return own * (num_clients + 1) + averaging
    sizes = [prod(p.shape) for p in parameters(plan.training) if p.is_trained]
    return (num_clients + 1) * trained_bytes + AVERAGING_BYTES * max(sizes, default=0)


def _training_pass(plan: ClientPlan, whole: Part) -> int:
    text = plan.train_epochs[0]
    samples = max(1, min(plan.batch_size, text.num_samples))
    batch = BatchShape.padded(samples, text.max_tokens)
    table = training_memory(plan.training, whole, batch)
    return table.saved_bytes + table.workspace_bytes


def _evaluation_pass(training: TrainingSpec, tokens: int) -> int:
    limit = _EVALUATED_POSITIONS
    if training.head.kind != "classification":
        limit = min(limit, _EVALUATED_LOGITS // training.model.vocab_size)
    whole = Part.whole(training.model.num_layers)
    batch = BatchShape.padded(max(1, limit // tokens), tokens)
    return inference_peak_bytes(training, whole, batch) - weights_bytes(training, whole)


def _trained_bytes(training: TrainingSpec) -> int:
    whole = Part.whole(training.model.num_layers)
    table = training_memory(training, whole, BatchShape.padded(1, 1))
    return table.gradient_bytes // max(1, num_trainable(training, whole))
