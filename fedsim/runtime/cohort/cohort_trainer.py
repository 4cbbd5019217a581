"""Trains many clients at once: one pass through the shared network, an update for each client.

What a client learns is what :class:`fedsim.runtime.trainer.Trainer` would have taught it alone, up
to the order in which floating-point numbers are added; tests hold every operation against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from fedsim.errors import ProtocolError
from fedsim.runtime.cohort.adapter_bank import AdapterBank
from fedsim.runtime.cohort.client import CohortClient, check_clients
from fedsim.runtime.cohort.network import CohortNetwork, Stream, client_rows, mask_keys
from fedsim.runtime.cohort.objective import (
    TargetRows,
    distillation_losses,
    target_rows,
    training_losses,
)
from fedsim.runtime.cohort.packing import PackedBatch, pack
from fedsim.runtime.cohort.row_optimizer import RowOptimizer
from fedsim.runtime.keyed_dropout import MaskStream
from fedsim.runtime.text_batch import TextBatch

__all__ = ["CohortTrainer"]

Batches = TextBatch | Sequence[TextBatch | None]


class CohortTrainer:
    """A cohort's clients with their optimizers.

    Parameters
    ----------
    network : CohortNetwork
        Shared; several trainers may use one.
    clients : sequence of CohortClient
        A client's place is its slot.
    tokens_at_once : int, optional
        Clients go through the network in groups of about so many tokens, which bounds the memory
        and changes no result; by default all at once.

    Raises
    ------
    ScenarioError
        If clients cannot be computed together.

    Notes
    -----
    Clients of the model's own rank begin with the model's adapters, others with none. All begin
    with its head.
    """

    def __init__(
        self,
        network: CohortNetwork,
        clients: Sequence[CohortClient],
        *,
        tokens_at_once: int | None = None,
    ) -> None:
        training = network.model.training
        check_clients(clients, training)
        self.network = network
        self.clients = tuple(clients)
        self.tokens_at_once = tokens_at_once
        self.bank = AdapterBank(network.model, [client.tuning for client in clients])
        self.bank.load_model(network.model)
        self._waiting: list[Stream] = []
        self._mask_words: dict[int, int] = {}
        self._streams = [MaskStream(c.options.seed, c.client_id) for c in clients]
        #: ``(K,)``: loss of each client's last batch.
        self.last_losses = torch.full((len(clients),), torch.nan, device=network.model.device)
        self._optimizer = RowOptimizer(
            self.bank, training.optimizer, [client.options for client in clients]
        )

    def begin_round(self, round_index: int) -> None:
        """Name the round's dropout masks; forget the optimizers' state where it is reset."""
        for stream in self._streams:
            stream.begin_round(round_index)
        if self.clients[0].options.optimizer_state == "reset":
            self.reset_optimizer()

    def reset_optimizer(self, slots: Iterable[int] | None = None) -> None:
        """Forget the optimizer's state of some clients, or of all."""
        self._optimizer.reset(range(len(self.clients)) if slots is None else slots)

    def set_anchor(self, slots: Iterable[int] | None = None) -> None:
        """Let FedProx's proximal term, where there is one, pull towards what is here now."""
        self._optimizer.set_anchor(range(len(self.clients)) if slots is None else slots)

    # --- operations --------------------------------------------------------------------------

    def train(
        self,
        batches: Sequence[TextBatch | None],
        *,
        is_update: bool | Sequence[bool],
    ) -> None:
        """Forward, cross entropy and backward of each client's batch, and its update.

        Parameters
        ----------
        batches : sequence of TextBatch or None
            By slot; a client without a batch is left untouched.
        is_update : bool or sequence of bool
            Whether gradients that were added up since the last update are used, for all or by slot.
        """

        def losses(logits: Tensor, targets: TargetRows) -> Tensor:
            return training_losses(logits, targets)

        self._step(batches, losses, is_training_loss=True, is_update=is_update)

    def distill(
        self,
        batches: Batches,
        teachers: Tensor | Sequence[Tensor | None],
        *,
        is_update: bool | Sequence[bool],
    ) -> None:
        """Forward, distillation loss and backward.

        Parameters
        ----------
        batches : TextBatch, or sequence of TextBatch or None
            One for all, or by slot.
        teachers : Tensor, or sequence of Tensor or None
            Logits, a row a target row: one for all, or by slot.
        is_update : bool or sequence of bool
            As in :meth:`train`.
        """
        options = self.clients[0].options
        by_slot = (
            dict.fromkeys(range(len(self.clients)), teachers)
            if isinstance(teachers, Tensor)
            else dict(enumerate(teachers))
        )

        def losses(logits: Tensor, targets: TargetRows) -> Tensor:
            return distillation_losses(logits, targets, by_slot, options)

        self._step(batches, losses, is_training_loss=False, is_update=is_update)

    def forward_to_cut(
        self, batches: Sequence[TextBatch | None], positions: Sequence[int]
    ) -> list[Tensor | None]:
        """Run each client's part below its cut, and keep the graph for the way back.

        Parameters
        ----------
        batches : sequence of TextBatch or None
            By slot.
        positions : sequence of int
            By slot: half-blocks below the cut.

        Returns
        -------
        list of Tensor or None
            Activations by slot, ``(tokens, d)``, samples one after the other.
        """
        found: list[Tensor | None] = [None] * len(self.clients)
        slots = self._active(batches)
        self._mask_words.update({slot: self._streams[slot].next_key() for slot in slots})
        for own, position in self._by_cut(batches, positions):
            keys = {slot: self._mask_words[slot] for slot in own}
            with torch.set_grad_enabled(self.trains_below(position)):
                stream = self._stream(batches, own, is_training=True, keys=keys, stop=position)
            self._waiting.append(stream)
            for span in stream.batch.tokens:
                found[span.slot] = stream.hidden.detach()[span.start : span.stop]
        return found

    def train_above_cut(
        self,
        activations: Sequence[Tensor | None],
        batches: Sequence[TextBatch | None],
        positions: Sequence[int],
        *,
        is_update: bool | Sequence[bool],
    ) -> list[Tensor | None]:
        """Finish the forward pass above each client's cut, go back to it.

        A client that trains below its cut is updated with :meth:`backward_from_cut`: both sides of
        the cut are one row of numbers, and what their optimizers do is done to each number alone.

        Parameters
        ----------
        activations : sequence of Tensor or None
            By slot, as received.
        batches : sequence of TextBatch or None
            By slot; labels and lengths are read.
        positions, is_update
            As in :meth:`forward_to_cut` and :meth:`train`.

        Returns
        -------
        list of Tensor or None
            Gradients of the activations by slot; None where a client trains nothing below its cut.
        """
        gradients: list[Tensor | None] = [None] * len(self.clients)
        updated = []
        for own, position in self._by_cut(batches, positions):
            packed = pack([(slot, b) for slot in own for b in [batches[slot]] if b is not None])
            wants_gradient = self.trains_below(position)
            hidden = torch.cat([t for slot in own for t in [activations[slot]] if t is not None])
            leaf = hidden.detach().to(self.bank.values.dtype).requires_grad_(wants_gradient)
            stream = self._above(leaf, packed, position)
            targets = target_rows(stream.batch, stream.is_pooled, is_training_loss=True)
            found = training_losses(self.network.logits(stream, self.bank, targets.wanted), targets)
            torch.autograd.backward(found.sum())
            self._note_losses(found, targets)
            if not wants_gradient:
                updated.extend(own)
            elif leaf.grad is not None:
                for span in packed.tokens:
                    gradients[span.slot] = leaf.grad[span.start : span.stop]
        self._optimizer.step(updated, is_update)
        return gradients

    def backward_from_cut(
        self, gradients: Sequence[Tensor | None], *, is_update: bool | Sequence[bool]
    ) -> None:
        """Go back from the cut with received gradients, and update both of its sides.

        Raises
        ------
        ProtocolError
            If a client that went forward with others got no gradients.
        """
        trained = []
        for stream in self._waiting:
            slots = stream.batch.slots
            own = [gradients[slot] for slot in slots]
            if all(gradient is None for gradient in own):
                continue
            parts = [gradient for gradient in own if gradient is not None]
            if len(parts) < len(own):
                raise ProtocolError(
                    "clients of a cohort that crossed the cut together did not all get gradients; "
                    "run this protocol in sequential mode."
                )
            torch.autograd.backward(stream.hidden, torch.cat(parts).to(stream.hidden.dtype))
            trained.extend(slots)
        self._waiting = [s for s in self._waiting if not set(s.batch.slots) & set(trained)]
        self._optimizer.step(trained, is_update)

    def trains_below(self, position: int) -> bool:
        """Whether there are adapters below a cut, in half-blocks; the head is above any."""
        halves = {
            linear.path: ("attention", "mlp").index(linear.half)
            for linear in self.network.spec.linears
        }
        return any(2 * index + halves[path] < position for index, path in self.bank.factors)

    def forget_forward(self, slots: Iterable[int]) -> None:
        """Forget forward passes of some clients that nothing will go back through."""
        gone = set(slots)
        self._waiting = [s for s in self._waiting if not gone & set(s.batch.slots)]

    def infer(self, batches: Batches) -> list[Tensor | None]:
        """Logits without dropout or gradients, by slot.

        Returns
        -------
        list of Tensor or None
            ``(B, C)``; for a language model one row a real token, samples one after the other.
            None for clients without a batch.
        """
        found: list[Tensor | None] = [None] * len(self.clients)
        with torch.no_grad():
            for slots in self._chunks(batches):
                stream = self._stream(batches, slots, is_training=False)
                targets = target_rows(stream.batch, stream.is_pooled, is_training_loss=False)
                logits = self.network.logits(stream, self.bank)
                for span in targets.spans:
                    found[span.slot] = logits[span.start : span.stop]
        return found

    # --- parameters --------------------------------------------------------------------------

    def adapters(self, slot: int, *, with_head: bool) -> dict[str, Tensor]:
        """A client's trained parameters by the name under which they are sent; copies."""
        return self.bank.tensors(slot, with_head=with_head)

    def load(self, slot: int, tensors: Mapping[str, Tensor]) -> None:
        """Put received parameters in the place of a client's own."""
        self.bank.load(slot, tensors)

    def optimizer_tensors(self, slot: int) -> dict[str, Tensor]:
        """A client's optimizer state, by parameter and by its own words; copies."""
        return self._optimizer.tensors(slot)

    def load_optimizer(self, slot: int, tensors: Mapping[str, Tensor]) -> None:
        """Take the state of :meth:`optimizer_tensors` again."""
        self._optimizer.load(slot, tensors)

    # --- private -----------------------------------------------------------------------------

    def _step(
        self,
        batches: Batches,
        losses: Callable[[Tensor, TargetRows], Tensor],
        *,
        is_training_loss: bool,
        is_update: bool | Sequence[bool],
    ) -> None:
        trained = []
        keys = {slot: self._streams[slot].next_key() for slot in self._active(batches)}
        for slots in self._chunks(batches):
            stream = self._stream(batches, slots, is_training=True, keys=keys)
            targets = target_rows(stream.batch, stream.is_pooled, is_training_loss=is_training_loss)
            found = losses(self.network.logits(stream, self.bank, targets.wanted), targets)
            torch.autograd.backward(found.sum())
            self._note_losses(found, targets)
            trained.extend(slots)
        self._optimizer.step(trained, is_update)

    def _note_losses(self, found: Tensor, targets: TargetRows) -> None:
        for span in targets.spans:
            own = found.detach()[span.start : span.stop]
            self.last_losses[span.slot] = own.sum()

    def _by_cut(
        self, batches: Sequence[TextBatch | None], positions: Sequence[int]
    ) -> Iterator[tuple[list[int], int]]:
        """Slots that go through the network together, all cut at one place."""
        for position in sorted({positions[slot] for slot in self._active(batches)}):
            own = [
                batch if positions[slot] == position else None for slot, batch in enumerate(batches)
            ]
            for slots in self._chunks(own):
                yield slots, position

    def _above(self, hidden: Tensor, packed: PackedBatch, position: int) -> Stream:
        """Received activations behind the last block."""
        keys = {slot: self._mask_words[slot] for slot in packed.slots}
        rows, masks = (
            client_rows(packed, self.bank, is_training=True),
            mask_keys(packed, self.bank.tunings, keys),
        )
        return self.network.run(Stream(hidden, packed, rows, masks), self.bank, start=position)

    def _active(self, batches: Batches) -> list[int]:
        if isinstance(batches, TextBatch):
            return list(range(len(self.clients)))
        return [slot for slot, batch in enumerate(batches) if batch is not None]

    def _chunks(self, batches: Batches) -> list[list[int]]:
        """Slots that go through the network together."""
        slots = self._active(batches)
        self.bank.check_loaded(slots)
        if self.tokens_at_once is None:
            return [slots] if slots else []
        chunks: list[list[int]] = []
        left = 0
        for slot in slots:
            batch = batches if isinstance(batches, TextBatch) else batches[slot]
            assert batch is not None
            num_tokens = int((batch.last_index + 1).sum())
            if not chunks or num_tokens > left:
                chunks.append([])
                left = self.tokens_at_once
            chunks[-1].append(slot)
            left -= num_tokens
        return chunks

    def _stream(
        self,
        batches: Batches,
        slots: Sequence[int],
        *,
        is_training: bool,
        keys: Mapping[int, int] | None = None,
        stop: int | None = None,
    ) -> Stream:
        """Some clients' batches behind the last block, or behind half-block ``stop``."""
        network, bank = self.network, self.bank
        start = 0
        if isinstance(batches, TextBatch):
            # Everybody reads the same text, and is the same up to the lowest adapter.
            one = pack([(slots[0], batches)])
            packed = one.for_slots(slots)
            start = 2 * (bank.lowest or 0)
            shared = Stream(
                network.embed(one), one, client_rows(one, bank, is_training=False), None
            )
            shared = network.run(shared, bank, stop=start)
            hidden = shared.hidden.repeat(len(slots), 1)
        else:
            packed = pack([(s, b) for s in slots for b in [batches[s]] if b is not None])
            hidden = network.embed(packed)
        masks = mask_keys(packed, self.bank.tunings, keys) if is_training and keys else None
        rows = client_rows(packed, bank, is_training=is_training)
        return network.run(Stream(hidden, packed, rows, masks), bank, start=start, stop=stop)
