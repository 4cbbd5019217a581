"""The closed-form interpreter."""

from fedsim.analytic.count import count_client, count_server
from fedsim.analytic.evaluate import AnalyticResult, ClassCost, evaluate
from fedsim.analytic.round_time import RoundTime, Seconds

__all__ = [
    "AnalyticResult",
    "ClassCost",
    "RoundTime",
    "Seconds",
    "count_client",
    "count_server",
    "evaluate",
]
