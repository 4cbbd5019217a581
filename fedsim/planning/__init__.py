"""The plan of a round: pure functions that every interpreter calls.

A schedule is a value that says which plan a client has in a round. Interpreters never read one:
they ask here, and get plans.
"""

from fedsim.planning.by_round import ByRound
from fedsim.planning.rounds import groups, plan
from fedsim.spec.schedule import Need, Schedule
from fedsim.spec.view import ClientFacts, View

__all__ = ["ByRound", "ClientFacts", "Need", "Schedule", "View", "groups", "plan"]
