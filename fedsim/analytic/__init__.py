"""The closed-form interpreter."""

from fedsim.analytic.count import count_client, count_server
from fedsim.analytic.evaluate import AnalyticResult, ClassCost, evaluate, timed
from fedsim.analytic.peak_memory import client_peak_bytes, server_peak_bytes
from fedsim.analytic.round_time import RoundTime, Seconds, Timing

__all__ = [
    "AnalyticResult",
    "ClassCost",
    "RoundTime",
    "Seconds",
    "Timing",
    "client_peak_bytes",
    "count_client",
    "count_server",
    "evaluate",
    "server_peak_bytes",
    "timed",
]
