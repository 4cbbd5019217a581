"""The closed-form interpreter."""

from fedsim.analytic.count import count_client, count_server
from fedsim.analytic.evaluate import AnalyticResult, ClassCost, RoundTime, Seconds, evaluate

__all__ = [
    "AnalyticResult",
    "ClassCost",
    "RoundTime",
    "Seconds",
    "count_client",
    "count_server",
    "evaluate",
]
