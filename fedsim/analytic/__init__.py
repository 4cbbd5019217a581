"""The closed-form interpreter."""

from fedsim.analytic.count import count_client, count_server
from fedsim.analytic.evaluate import AnalyticResult, ClassCost, PeriodCost, evaluate, timed
from fedsim.analytic.peak_memory import client_peak_bytes, server_peak_bytes
from fedsim.analytic.periods import Period, periods, scheduled_needs
from fedsim.analytic.round_time import RoundTime, Seconds, Timing

__all__ = [
    "AnalyticResult",
    "ClassCost",
    "Period",
    "PeriodCost",
    "RoundTime",
    "Seconds",
    "Timing",
    "client_peak_bytes",
    "count_client",
    "count_server",
    "evaluate",
    "periods",
    "scheduled_needs",
    "server_peak_bytes",
    "timed",
]
