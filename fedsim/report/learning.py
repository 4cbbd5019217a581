"""Learning curves, their laws and the laws' errors as tables."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from rich.table import Table

from fedsim.comparison.result import framework_label
from fedsim.learning import CurveErrors, Curves, LearningLaw
from fedsim.learning.check import HeldOut

__all__ = ["curves_table", "errors_table", "laws_table"]


def curves_table(curves: Curves) -> Table:
    """A row for each configuration: rounds, and accuracy at the end over seeds."""
    table = Table(title="Measured learning curves", title_justify="left", box=None)
    for name in ("framework", "configuration", "runs", "rounds", "accuracy at the end"):
        table.add_column(
            name, justify="left" if name in ("framework", "configuration") else "right"
        )
    for group in curves.groups:
        for runs in group.configurations().values():
            last = [run.accuracy[-1] for run in runs]
            table.add_row(
                framework_label(group.framework),
                _configuration(runs[0].covariates),
                str(len(runs)),
                str(runs[0].rounds[-1]),
                f"{median(last):.1%}  ({min(last):.1%} .. {max(last):.1%})",
            )
    return table


def laws_table(laws: Iterable[LearningLaw]) -> Table:
    """A row for each law: what it reaches at the last round that was measured."""
    table = Table(title="Fitted laws, in the middle of what was measured", title_justify="left")
    table.box = None
    for name in ("framework", "interpolates in", "rounds", "accuracy then"):
        table.add_column(name)
    for law in laws:
        found = law.accuracy(law.last_round, **middle_of(law))
        assert found.mean is not None
        table.add_row(
            framework_label(law.framework),
            ", ".join(law.covariates) or "nothing: one configuration",
            str(law.last_round),
            f"{found.mean:.1%}  ({found.low:.1%} .. {found.high:.1%})",
        )
    return table


def middle_of(law: LearningLaw) -> dict[str, float]:
    """Covariates in the geometric middle of the measured ones."""
    varied = {name: (low * high) ** 0.5 for name, (low, high) in law.ranges.items()}
    return {**law.fixed, **varied}


def errors_table(errors: Iterable[CurveErrors]) -> Table:
    """A row for each framework and kind of check."""
    table = Table(title="Errors of accuracy at the last round", title_justify="left", box=None)
    for name in ("framework", "predicted", "runs", "median", "largest", "in the interval"):
        table.add_column(name, justify="left" if name in ("framework", "predicted") else "right")
    for each in errors:
        for what, found in (
            ("other settings", each.configurations),
            ("later rounds", each.later),
        ):
            table.add_row(framework_label(each.framework), what, *_errors(found))
    return table


def _errors(found: tuple[HeldOut, ...]) -> tuple[str, ...]:
    if not found:
        return ("0", "-", "-", "-")
    sizes = [abs(one.error) for one in found]
    covered = sum(one.is_covered for one in found)
    return (
        str(len(found)),
        f"{100 * median(sizes):.1f} points",
        f"{100 * max(sizes):.1f} points",
        f"{covered} of {len(found)}",
    )


def _configuration(covariates: dict[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in sorted(covariates.items()))
