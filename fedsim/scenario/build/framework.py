"""Frameworks by name, and a user's own by ``module:function``.

A user's function is their code: whatever goes wrong in it is reported as theirs, with its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fedsim.errors import FedsimError, ScenarioError, nearest
from fedsim.protocol import FRAMEWORKS, Framework
from fedsim.protocol.step import Protocol
from fedsim.scenario.build.own_module import own_attribute, reason
from fedsim.spec.plan import ClientPlan

__all__ = ["find_framework", "framework_of"]


def find_framework(name: str, folder: Path) -> Framework:
    """The framework of a name.

    Parameters
    ----------
    name : str
        ``fedllm``, ``kd_fedllm``, ``split_fedllm`` or ``module:NAME``: a
        :class:`fedsim.protocol.Framework`, or a function that turns a plan into a protocol.
    folder : Path
        The scenario's: a module beside it is found.

    Raises
    ------
    ScenarioError
        If there is none; the message names no table.
    """
    if name in FRAMEWORKS:
        return FRAMEWORKS[name]
    if ":" not in name:
        short = [f.name for f in FRAMEWORKS.values() if name.casefold() in f.other_names]
        hint = f" Did you mean {short[0]!r}?" if short else nearest(name, FRAMEWORKS)
        raise ScenarioError(f"allowed: {', '.join(FRAMEWORKS)}, or module:function.{hint}")
    found = own_attribute(name, folder, "module:function, such as my_framework:my_protocol")
    if isinstance(found, Framework):
        # By the name that its user gives it: no framework of fedsim's own has a colon in it.
        return replace(found, name=name, build=_checked(name, found.build))
    if not callable(found):
        raise ScenarioError(
            f"{name} is {type(found).__name__}, neither a Framework nor a function that turns a "
            "plan into a protocol."
        )
    return Framework(name, name, _checked(name, found))


def framework_of(given: str | Framework | Callable[[ClientPlan], Protocol]) -> Framework:
    """The framework that a program means: by its name, as a value, or as a bare function.

    Raises
    ------
    ScenarioError
        If there is none of that name, or it is nothing of these.
    """
    if isinstance(given, str):
        return find_framework(given, Path.cwd())
    if isinstance(given, Framework):
        return given if given in FRAMEWORKS.values() else _guarded(given)
    if not callable(given):
        raise ScenarioError(
            f"{type(given).__name__} is no framework; give a name, a Framework or a function that "
            "turns a plan into a protocol."
        )
    name = getattr(given, "__name__", type(given).__name__)
    return _guarded(Framework(name, name, given))


def _guarded(framework: Framework) -> Framework:
    return replace(framework, build=_checked(framework.name, framework.build))


def _checked(
    name: str, function: Callable[[ClientPlan], object]
) -> Callable[[ClientPlan], Protocol]:
    """Called once for each plan: what a user's function raises or returns is said in one line."""

    def build(plan: ClientPlan) -> Protocol:
        # A user's function may raise anything.
        try:
            protocol = function(plan)
        except FedsimError:
            raise
        except Exception as error:
            raise ScenarioError(f"framework '{name}' fails: {reason(error)}.") from error
        if not isinstance(protocol, Protocol):
            raise ScenarioError(
                f"framework '{name}' gives {type(protocol).__name__}; a "
                "fedsim.protocol.step.Protocol is needed."
            )
        return protocol

    return build
