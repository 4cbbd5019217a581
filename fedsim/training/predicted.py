"""What the formulas say of rounds that a federation really runs."""

from __future__ import annotations

from fedsim.analytic import count_client, count_server
from fedsim.ledger import SETUP_ROUND, Ledger
from fedsim.runtime.federation import Federation

__all__ = ["predicted_round"]


def predicted_round(federation: Federation, round_index: int) -> Ledger:
    """Counted rows of one round, or of the set-up, with every client's own plan.

    Raises
    ------
    ScenarioError
        If a schedule looks at losses of rounds that have not been run.
    """
    ledger = Ledger()
    plans = federation.round_plans.plans(round_index)
    for client_id, plan in plans.items():
        protocol = federation.framework(plan)
        steps = protocol.setup if round_index == SETUP_ROUND else protocol.round
        count_client(ledger, round_index, client_id, steps, plan.training)
    if round_index != SETUP_ROUND:
        own = federation.round_plans.server_plan(round_index)
        count_server(ledger, round_index, federation.framework(own).round, own.training)
    return ledger
