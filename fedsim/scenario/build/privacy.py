"""``[privacy]`` put into effect: the framework whose clients hide what they contribute.

Decides how many clients share masks and how many of their vectors do not count, and refuses what
has no meaning together. What it costs follows from the rewritten protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from fedsim.analytic import AnalyticResult
from fedsim.analytic.count import count_client, count_server
from fedsim.errors import ScenarioError
from fedsim.ledger import SERVER, Ledger, LedgerRow
from fedsim.protocol import Framework
from fedsim.protocol.operation import Content
from fedsim.protocol.privacy import PRIVACY_STEPS, masked_values, summed_bits, with_privacy
from fedsim.scenario.file.mistake import Mistake
from fedsim.scenario.file.settings import Settings
from fedsim.spec.federation import FederationSpec
from fedsim.spec.policy import PolicySpec
from fedsim.spec.privacy import PrivacySpec

__all__ = ["Protection", "length_mistakes", "privacy_entry", "privacy_mistakes", "privacy_notes"]

_COUNTS: Final = (
    "uplink_payload_bytes",
    "downlink_payload_bytes",
    "uplink_message_bytes",
    "downlink_message_bytes",
    "client_flop",
    "server_flop",
)


@dataclass(frozen=True)
class Protection:
    """A framework with and without its ``[privacy]``.

    Attributes
    ----------
    plain : callable
        The framework itself: plan to protocol.
    spec : PrivacySpec
    num_participants : int
        Clients that a round asks, and that share masks.
    num_dropouts : int
        Of these, the clients that the policy does not await.
    """

    plain: Framework
    spec: PrivacySpec
    num_participants: int
    num_dropouts: int

    @classmethod
    def of(
        cls, framework: Framework, settings: Settings, num_clients: int, policy: PolicySpec
    ) -> Protection:
        """What the settings ask for."""
        asked = policy.num_asked(num_clients)
        spec = PrivacySpec(**dict(settings.privacy))
        return cls(framework, spec, asked, asked - policy.num_awaited(asked))

    @property
    def is_active(self) -> bool:
        """Whether anything is hidden."""
        return self.spec != PrivacySpec()

    @property
    def hides_sums(self) -> bool:
        """Whether the server sees sums alone."""
        return self.spec.secure_aggregation is not None

    def framework(self) -> Framework:
        """The protected framework; the plain one itself where nothing is hidden.

        Raises
        ------
        ScenarioError
            If so many clients cannot share masks, or too few are awaited.
        """
        return with_privacy(self.plain, self.spec, self.num_participants, self.num_dropouts)


def privacy_mistakes(settings: Settings) -> Iterator[Mistake]:
    """What ``[privacy]`` alone gets wrong, and what has no meaning with the policy."""
    table, policy = settings.privacy, settings.policy
    try:
        PrivacySpec(**dict(table))
    except ScenarioError as error:
        yield Mistake.of(error, "[privacy]")
    if table.secure_aggregation is None:
        return
    where, found = "[privacy] secure_aggregation", repr(table.secure_aggregation)
    if policy.mode != "synchronous":
        text = (
            f"masks cancel among clients that start together, and mode = '{policy.mode}' sums "
            'whoever is done; set policy.mode = "synchronous", or leave it out.'
        )
        yield Mistake(where, found, text)
    if policy.retries:
        text = (
            "a client that starts over would share keys anew when the others have masked with its "
            "old ones; set policy.retries = 0, or leave it out."
        )
        yield Mistake(where, found, text)


def length_mistakes(protection: Protection, federation: FederationSpec) -> Iterator[Mistake]:
    """Vectors of different lengths or formats have no common masks, so they have no secure sum."""
    framework = protection.framework()
    plans = {f"class '{c.name}'": c.plan for c in federation.classes}
    plans["the server's plan"] = federation.server_plan
    lengths = {name: masked_values(framework(plan)) for name, plan in plans.items()}
    where, found = "[privacy] secure_aggregation", repr(protection.spec.secure_aggregation)
    if len(set(lengths.values())) > 1:
        first, other = _unequal(lengths)
        text = (
            f"{first[0]} sends {first[1]:,} values and {other[0]} {other[1]:,}; masks cancel in "
            "vectors of one length: give all classes one r and one cut_layer, those of [lora] and "
            "[split]."
        )
        yield Mistake(where, found, text)
    if not protection.hides_sums:
        return
    bits = {name: summed_bits(protection.plain(plan)) for name, plan in plans.items()}
    if len(set(bits.values())) > 1:
        first, other = _unequal(bits)
        text = (
            f"{first[0]} sends values of {first[1]} bits and {other[0]} of {other[1]}; masks "
            "cancel in one ring: give all classes one codec up, that of [codec]."
        )
        yield Mistake(where, found, text)


def _unequal(found: dict[str, int]) -> tuple[tuple[str, int], tuple[str, int]]:
    """The first of several and the first that differs from it."""
    first, *rest = found.items()
    return first, next(item for item in rest if item[1] != first[1])


def privacy_entry(protection: Protection | None, answer: AnalyticResult) -> dict[str, Any] | None:
    """``privacy`` of a result: the numbers behind it, its steps, and the difference it makes.

    One client of each class in the first round, and the server once a round.
    """
    if protection is None:
        return None
    spec, n = protection.spec, protection.num_participants
    # Of the first round, as the answer's ledger is.
    federation = answer.periods[0].period.federation
    plan = federation.server_plan
    entry: dict[str, Any] = {
        "secure_aggregation": spec.secure_aggregation,
        "differential_privacy": spec.differential_privacy,
    }
    if protection.hides_sums:
        bits = summed_bits(protection.plain(plan))
        entry |= {
            "num_participants": n,
            "num_dropouts": protection.num_dropouts,
            "num_neighbors": spec.num_neighbors(n),
            "num_shares": spec.num_shares(n),
            "threshold": spec.threshold(n),
            "ring_bits": spec.ring_bits(n, bits),
            "num_values": masked_values(protection.framework()(plan)),
        }
    before = _plain_ledger(protection, federation)
    rows = [(key, row) for key, row in answer.ledger.rows.items() if key.round_index == 1]
    parties = [c.name for c in federation.classes] + [SERVER]
    return entry | {
        "steps": [
            {"party": key.party, "step": key.step, **_counted(row)}
            for key, row in rows
            if key.step in PRIVACY_STEPS
        ],
        # Signed: quantized values may be shorter than the plain ones.
        "difference": [
            {"party": party, **_difference(answer.ledger, before, party)} for party in parties
        ],
    }


def privacy_notes(protection: Protection | None, sent: frozenset[Content]) -> Iterator[str]:
    """What a reader must know of a protected result."""
    if protection is None:
        return
    if protection.hides_sums:
        yield (
            "secure aggregation is counted and never run: all clients that a round asks share "
            "masks, and waiting for the slowest of them between its messages is left out"
        )
    if Content.ACTIVATIONS in sent:
        yield (
            "[privacy] hides what clients send to be averaged: each batch's activations, labels "
            "and gradients cross the cut in the clear"
        )


def _plain_ledger(protection: Protection, federation: FederationSpec) -> Ledger:
    ledger = Ledger()
    for c in federation.classes:
        count_client(ledger, 1, c.name, protection.plain(c.plan).round, c.plan.training)
    plan = federation.server_plan
    count_server(ledger, 1, protection.plain(plan).round, plan.training)
    return ledger


def _counted(row: LedgerRow) -> dict[str, int]:
    return {name: getattr(row, name) for name in _COUNTS}


def _difference(after: Ledger, before: Ledger, party: str) -> dict[str, int]:
    with_, without = (
        _counted(ledger.total(ledger.select(round_index=1, party=party)))
        for ledger in (after, before)
    )
    return {name: with_[name] - without[name] for name in _COUNTS}
