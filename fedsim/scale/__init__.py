"""The engine for a million clients: arrays and compiled kernels."""

from fedsim.scale.engine import simulate
from fedsim.scale.sample_limits import check_sampled

__all__ = ["check_sampled", "simulate"]
