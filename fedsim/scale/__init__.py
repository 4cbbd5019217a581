"""The engine for a million clients: arrays and compiled kernels."""
