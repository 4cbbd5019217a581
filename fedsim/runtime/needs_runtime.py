"""Say what to install where torch is needed and the environment has none."""

from __future__ import annotations

from importlib.util import find_spec

from fedsim.errors import ScenarioError

__all__ = ["check_runtime"]

_NEEDED = ("torch", "transformers", "peft", "safetensors")


def check_runtime() -> None:
    """Raise ``ScenarioError`` unless the runtime's packages can be imported."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ScenarioError(
            f"this really trains and needs {', '.join(missing)}; "
            "install them with: pip install 'fedsim-llm[runtime]'"
        )
