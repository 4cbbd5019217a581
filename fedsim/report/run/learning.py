"""Learning curves, their laws and the laws' errors as tables."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from rich.table import Table

from fedsim.comparison.result import framework_label
from fedsim.learning import CurveErrors, CurveGroup, Curves, LearningLaw, coverage
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
        own = curves.own_conditions(group)
        for runs in group.configurations().values():
            last = [run.accuracy[-1] for run in runs]
            table.add_row(
                framework_label(group.framework),
                ", ".join(part for part in (_varied(runs[0].covariates, group), own) if part),
                str(len(runs)),
                str(runs[0].rounds[-1]),
                f"{median(last):.1%}  ({min(last):.1%} .. {max(last):.1%})",
            )
    return table


def laws_table(laws: Iterable[LearningLaw]) -> Table:
    """A row for each configuration, and for each law that answers between some."""
    laws = list(laws)
    table = Table(title="Fitted laws", title_justify="left")
    table.box = None
    for name in ("framework", "answers for", "rounds", "accuracy then", "up to"):
        table.add_column(name)
    for law in laws:
        up_to = f"{law.farthest:,.0f} rounds"
        if law.covariates:
            between = (
                f"{name} {low:g} to {high:g}" for name, (low, high) in law.interpolates.items()
            )
            if words := ", ".join(between):
                table.add_row(
                    framework_label(law.framework), words, str(law.last_round), "-", up_to
                )
            continue
        found = law.accuracy(law.last_round, extrapolates=False, **law.fixed)
        assert found.mean is not None
        interval = "one run" if found.low is None else f"{found.low:.1%} .. {found.high:.1%}"
        chance = ", at chance" if law.measured[0].is_at_chance else ""
        table.add_row(
            framework_label(law.framework),
            _own_words(law, laws),
            str(law.last_round),
            f"{found.mean:.1%}  ({interval}{chance})",
            up_to,
        )
    return table


def errors_table(errors: Iterable[CurveErrors]) -> Table:
    """A row for each framework and kind of check, and one for all together."""
    table = Table(
        title="Errors on what a fit had not seen, in points of accuracy", title_justify="left"
    )
    table.box = None
    for name in (
        "framework",
        "predicted",
        "runs",
        "median",
        "largest",
        "within",
        "share, 95 %",
        "width",
    ):
        table.add_column(
            name,
            justify="left" if name in ("framework", "predicted") else "right",
            no_wrap=True,
        )
    rows: dict[tuple[str, str], list[HeldOut]] = {}
    for each in errors:
        for what, found in (
            ("settings between", each.configurations),
            ("later rounds", each.later),
            ("another seed", each.seeds),
        ):
            rows.setdefault((framework_label(each.framework), what), []).extend(found)
    rows["all", ""] = [one for found in rows.values() for one in found]
    for (framework, what), held_out in rows.items():
        table.add_row(framework, what, *_errors(tuple(held_out)))
    return table


def _errors(found: tuple[HeldOut, ...]) -> tuple[str, ...]:
    if not found:
        return ("0", "-", "-", "-", "-", "-")
    sizes, share = [abs(one.error) for one in found], coverage(found)
    return (
        str(len(found)),
        f"{100 * median(sizes):.1f}",
        f"{100 * max(sizes):.1f}",
        f"{share.num_covered} of {share.num_runs}",
        f"{share.low:.0%} .. {share.high:.0%}",
        f"{100 * share.width:.1f}",
    )


def _varied(covariates: dict[str, float], group: CurveGroup) -> str:
    varied = {name for name, (low, high) in group.ranges().items() if high > low}
    return _configuration({n: v for n, v in covariates.items() if n in varied} or covariates)


def _own_words(law: LearningLaw, laws: Iterable[LearningLaw]) -> str:
    """What tells a configuration's law from the others of its framework."""
    mine: dict[str, object] = {**law.fixed, **law.conditions}
    others = [
        {**o.fixed, **o.conditions}
        for o in laws
        if o is not law and not o.covariates and o.framework == law.framework
    ]
    own = {name: value for name, value in mine.items() if any(o.get(name) != value for o in others)}
    return ", ".join(
        f"{name.rpartition('.')[2]} = {value:g}"
        if isinstance(value, float)
        else f"{name.rpartition('.')[2]} = {value}"
        for name, value in own.items()
    ) or _configuration(law.fixed)


def _configuration(covariates: dict[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in sorted(covariates.items()))
