"""Federated fine-tuning of LLMs: run it, count it, simulate it."""

__all__ = ["__version__"]

__version__ = "0.1.0"
