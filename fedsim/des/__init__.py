"""The reference engine: one SimPy process for each client."""
