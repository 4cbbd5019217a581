"""What is said of when the server knows that clients have failed."""

from __future__ import annotations

from fedsim.fleet.simulation import Simulation

__all__ = ["detection_note"]


def detection_note(simulation: Simulation) -> str:
    """A note for answers in which it is not said when failures are noticed; else empty."""
    can_fail = any(c.spread.dropout_probability > 0 for c in simulation.federation.classes)
    if not can_fail or simulation.policy.failure_timeout_s is not None:
        return ""
    return (
        "a client that fails is missed when its work would have ended with nobody else there; "
        "policy.failure_timeout says when else ('0 s': at once)"
    )
