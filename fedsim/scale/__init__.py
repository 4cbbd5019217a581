"""The engine for a million clients: arrays and compiled kernels."""

from fedsim.scale.engine import simulate

__all__ = ["simulate"]
