"""The version, apart from the public face, so that whoever writes it down imports nothing else."""

__all__ = ["__version__"]

__version__ = "0.1.0"
