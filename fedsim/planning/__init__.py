"""The plan of a round: pure functions that every interpreter calls.

A schedule is a value that says which plan a client has in a round, or how many clients the round
asks. Interpreters never read one: they ask here, and get plans and policies.
"""

from fedsim.planning.by_round import ByRound, ParticipationByRound, rounds_to_plan
from fedsim.planning.rounds import groups, plan, policy
from fedsim.spec.policy import PolicySchedule
from fedsim.spec.schedule import Need, Schedule
from fedsim.spec.view import ClientFacts, View

__all__ = [
    "ByRound",
    "ClientFacts",
    "Need",
    "ParticipationByRound",
    "PolicySchedule",
    "Schedule",
    "View",
    "groups",
    "plan",
    "policy",
    "rounds_to_plan",
]
