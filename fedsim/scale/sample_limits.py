"""What a sample of the clients cannot stand for."""

from __future__ import annotations

from fedsim.errors import ScenarioError
from fedsim.fleet.availability import is_always_on
from fedsim.spec.federation import FederationSpec
from fedsim.spec.policy import PolicySpec

__all__ = ["check_sampled"]


def check_sampled(federation: FederationSpec, policy: PolicySpec, *, is_exclusive: bool) -> None:
    """Refuse what a sample does not know.

    Parameters
    ----------
    federation : FederationSpec
    policy : PolicySpec
    is_exclusive : bool
        Whether clients do anything that they can only do one after the other.

    Raises
    ------
    ScenarioError
        With the key and what to set.
    """
    server = federation.server
    beyond = {
        f"policy.mode = '{policy.mode}'": policy.mode != "synchronous",
        f"policy.retries = {policy.retries}": policy.retries > 0,
        "availability": not is_always_on(federation),
        "link.trace": any(c.link.trace is not None for c in federation.classes),
        f"server.max_batch = {server.max_batch}": server.max_batch > 1,
        "split.server_order = 'turns'": is_exclusive and server.order == "turns",
    }
    found = [what for what, is_there in beyond.items() if is_there]
    if found:
        raise ScenarioError(
            f"engine = 'sampled' knows no {', '.join(found)}; set engine = \"scale\" with fewer "
            "clients, rounds or mini-batches, or leave it out."
        )
