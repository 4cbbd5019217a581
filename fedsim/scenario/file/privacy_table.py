"""``[privacy]``: what hides a client's contribution, and so what is sent and computed for it."""

from __future__ import annotations

from fedsim.scenario.file.key import Table, key
from fedsim.spec.privacy import DifferentialPrivacy, SecureAggregation

__all__ = ["PrivacyTable"]


class PrivacyTable(Table):
    """``[privacy]``: what hides a client's contribution; nothing without it."""

    secure_aggregation: SecureAggregation | None = key(
        "cost",
        "time",
        default=None,
        description="Masks between all pairs of clients, or between neighbors, cancel in the sum",
    )
    neighbors: int | None = key(
        "cost",
        "time",
        default=None,
        ge=1,
        le=1_000_000_000,
        description="k of 'secagg+'; 2 ceil(log2 n) of n clients without it",
    )
    quantization_bits: int | None = key(
        "cost",
        "time",
        "learning",
        when="secure sums",
        default=None,
        ge=1,
        le=32,
        description="Of a value ahead of the secure sum; as many as payload_dtype has without it",
    )
    differential_privacy: DifferentialPrivacy | None = key(
        "cost",
        "time",
        "learning",
        default=None,
        description="Clients clip; the server adds noise to the average, or each to its own",
    )
