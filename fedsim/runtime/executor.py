"""The executing interpreter: reads a protocol step by step, really does it, and meters it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from fedsim.draws import client_key, turn_order
from fedsim.errors import ProtocolError
from fedsim.ledger import SERVER, SETUP_ROUND, Ledger, LedgerRow, RowKey
from fedsim.protocol.step import (
    Compute,
    Direction,
    Each,
    Gather,
    Once,
    Protocol,
    Repeat,
    Segment,
    Site,
    Step,
    Transfer,
    leaf_steps,
)
from fedsim.runtime.channel import Channel, Message, deserialize, serialize
from fedsim.runtime.client import Client
from fedsim.runtime.coding import decoded, encoded
from fedsim.runtime.losses import LossBook
from fedsim.runtime.meter import MemoryMeter, message_payload_bytes, metered
from fedsim.runtime.noise import begin_noise
from fedsim.runtime.server import Server

__all__ = ["Executor"]


@dataclass
class Executor:
    """Runs protocols for a cohort of clients.

    Attributes
    ----------
    server : Server
    clients : mapping of str to Client
    channel : Channel
        Between each client and the server.
    counts_flop : bool
        Count FLOPs; seconds are then those of the counting.
    tracks_memory : bool
        Follow every party's live memory.
    seed : int
        Of the order of turns, and of dropout.
    ledger : Ledger
        What was metered.
    on_step : callable, optional
        ``(round_index, party, step label)`` after every step, for progress.
    on_gather : callable, optional
        Called with the label when all contributions have arrived and none is used yet.
    losses : LossBook, optional
        Takes the losses of training and distillation.
    """

    server: Server
    clients: Mapping[str, Client]
    channel: Channel
    counts_flop: bool = True
    tracks_memory: bool = False
    seed: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    memory: dict[str, MemoryMeter] = field(default_factory=dict)  # by party
    on_step: Callable[[int, str, str], None] | None = None
    on_gather: Callable[[str], None] | None = None
    losses: LossBook | None = None

    def run_setup(self, protocols: Mapping[str, Protocol]) -> None:
        """What every client receives once.

        Raises
        ------
        ProtocolError
            If a round hides what clients contribute: nothing here masks or adds noise.
        """
        for protocol in protocols.values():
            _check_executable(protocol)
        first = next(iter(protocols.values()))
        self._run(SETUP_ROUND, {cid: p.setup for cid, p in protocols.items()}, first.setup)

    def run_round(
        self,
        round_index: int,
        protocols: Mapping[str, Protocol],
        server_protocol: Protocol | None = None,
    ) -> None:
        """One round. All protocols come from one framework and differ by their plans only.

        Parameters
        ----------
        round_index : int
        protocols : mapping of str to Protocol
            By client.
        server_protocol : Protocol, optional
            What the server does once is this one's; by default the first client's.

        Raises
        ------
        ProtocolError
            As for :meth:`run_setup`; or if protocols do not have the same segments.
        """
        own = next(iter(protocols.values())) if server_protocol is None else server_protocol
        for protocol in (*protocols.values(), own):
            _check_executable(protocol)
            _check_alike(protocol, own)
        self.server.begin_round()
        self._run(round_index, {cid: p.round for cid, p in protocols.items()}, own.round)

    def _run(
        self,
        round_index: int,
        programs: Mapping[str, tuple[Segment, ...]],
        own: tuple[Segment, ...],
    ) -> None:
        order = _turns(self.seed, round_index, tuple(programs))
        for index, segment in enumerate(own):
            if isinstance(segment, Gather):
                if self.on_gather is not None:
                    self.on_gather(segment.label)
                continue
            if isinstance(segment, Once):
                self._once(round_index, index, segment.steps)
                continue
            segments = {client_id: programs[client_id][index] for client_id in order}
            self._each(
                round_index,
                index,
                {cid: each.steps for cid, each in segments.items() if isinstance(each, Each)},
            )

    def _each(self, round_index: int, index: int, programs: Mapping[str, tuple[Step, ...]]) -> None:
        """One segment of all clients, in the order of their turns."""
        for client_id, steps in programs.items():
            begin_noise(self.seed, round_index, client_id, index)
            self._steps(round_index, client_id, steps)

    def _once(self, round_index: int, index: int, steps: tuple[Step, ...]) -> None:
        """One segment of the server's."""
        begin_noise(self.seed, round_index, SERVER, index)
        self._steps(round_index, SERVER, steps)

    def _steps(self, round_index: int, party: str, steps: tuple[Step, ...]) -> None:
        for step in steps:
            if isinstance(step, Repeat):
                for _ in range(step.times):
                    self._steps(round_index, party, step.steps)
                continue
            row = (
                self._compute(party, step)
                if isinstance(step, Compute)
                else self._transfer(party, step)
            )
            self.ledger.add(RowKey(round_index, party, step.label), row)
            if self.losses is not None and isinstance(step, Compute):
                self._note_loss(round_index, party, step, row.samples)
            if self.on_step is not None:
                self.on_step(round_index, party, step.label)

    def _note_loss(self, round_index: int, party: str, step: Compute, num_samples: int) -> None:
        if step.operation.facts.loss is None:
            return
        if step.site is Site.CLIENT:
            trainer = self.clients[party].trainer
        elif party == SERVER:
            trainer = self.server.trainer
        else:
            trainer = self.server.server_side_trainer(party)
        assert self.losses is not None
        self.losses.note(round_index, party, step.label, trainer.last_loss, num_samples)

    def _compute(self, party: str, step: Compute) -> LedgerRow:
        worker: Client | Server = self.server
        if step.site is Site.CLIENT:
            worker = self.clients[party]
        samples, tokens = worker.samples_seen, worker.tokens_seen
        device = self.server.trainer.model.device
        site = party if step.site is Site.CLIENT else SERVER
        memory = self.memory.setdefault(site, MemoryMeter()) if self.tracks_memory else None
        with metered(device, counts_flop=self.counts_flop, memory=memory) as reading:
            if isinstance(worker, Client) or party == SERVER:
                worker.execute(step.operation)
            else:
                worker.execute_for(party, step.operation)
        is_client = step.site is Site.CLIENT
        return LedgerRow(
            times=1,
            samples=worker.samples_seen - samples,
            tokens=worker.tokens_seen - tokens,
            client_flop=reading.flop if is_client else 0,
            server_flop=0 if is_client else reading.flop,
            compute_s=reading.seconds,
        )

    def _transfer(self, client_id: str, step: Transfer) -> LedgerRow:
        client = self.clients[client_id]
        content = step.payload.content
        start = time.perf_counter()
        self.server.expect(client_id, step)
        if step.direction is Direction.UP:
            sent = encoded(step, client.outgoing(content), client.codecs)
            request = Message(client_id, step.label, content, serialize(sent))
            reply = self.channel.request(request)
            arrived, party = self.server.received(content, client_id), SERVER
        else:
            request = Message(client_id, step.label, content)
            reply = self.channel.request(request)
            wire = deserialize(reply.body, client.trainer.model.device)
            arrived = decoded(step, wire, client.codecs)
            client.incoming(content, arrived)
            party = client_id
        bodies = [message.body for message in (request, reply) if message.body]
        seconds = time.perf_counter() - start
        if self.tracks_memory:
            self.memory.setdefault(party, MemoryMeter()).adopt(arrived.values())
        payload, message = sum(map(message_payload_bytes, bodies)), sum(map(len, bodies))
        is_up = step.direction is Direction.UP
        return LedgerRow(
            times=1,
            messages=len(bodies),
            uplink_payload_bytes=payload if is_up else 0,
            downlink_payload_bytes=0 if is_up else payload,
            uplink_message_bytes=message if is_up else 0,
            downlink_message_bytes=0 if is_up else message,
            transfer_s=seconds,
        )


def _turns(seed: int, round_index: int, client_ids: tuple[str, ...]) -> list[str]:
    """Clients in the order in which they take their turns: the one that simulations have."""
    keys = np.array([client_key(client_id) for client_id in client_ids])
    return [client_ids[place] for place in turn_order(seed, round_index, keys)]


def _check_executable(protocol: Protocol) -> None:
    """Refuse steps that are counted and modeled only, ahead of any work."""
    for segment in protocol.round:
        if isinstance(segment, Gather):
            continue
        for _, step in leaf_steps(segment.steps):
            if isinstance(step, Compute) and not step.operation.facts.is_executable:
                raise ProtocolError(
                    f"protocol '{protocol.name}': step '{step.label}' "
                    f"({type(step.operation).__name__}) belongs to secure aggregation or "
                    "differential privacy, which a real run does not do: it would send in the "
                    "clear. Run the framework without privacy, or count it."
                )


def _check_alike(protocol: Protocol, own: Protocol) -> None:
    """Clients wait for each other behind the same segments, or they wait for ever."""
    if [type(segment) for segment in protocol.round] != [type(segment) for segment in own.round]:
        raise ProtocolError(
            f"protocol '{protocol.name}': one client's round has {len(protocol.round)} segments "
            f"and another's {len(own.round)} (one trains nothing below its cut, say); plans may "
            "differ in sizes, not in what happens."
        )
