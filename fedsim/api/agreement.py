"""``fedsim.verify``: a real run held against the formulas, for a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fedsim.agreement import Verification
from fedsim.api.notebook import as_html
from fedsim.api.table import Column, Table
from fedsim.errors import ScenarioError
from fedsim.protocol import FRAMEWORKS, Framework
from fedsim.protocol.step import Protocol
from fedsim.spec.plan import ClientPlan

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from fedsim.training.file import TrainingDocument

__all__ = ["DEFAULT_SCENARIO", "Agreement", "verify"]

#: What is verified where nothing is named.
DEFAULT_SCENARIO: Final = "verify_tiny"

_SHOWN: Final = ("payload B", "FLOP")
_COUNTS: Final = (
    *("uplink_payload_bytes", "downlink_payload_bytes"),
    *("uplink_message_bytes", "downlink_message_bytes"),
    *("client_flop", "server_flop", "messages", "tokens"),
)


def verify(
    source: str | PathLike[str] | Mapping[str, Any] = DEFAULT_SCENARIO,
    *,
    case: str | None = None,
    framework: str | Framework | Callable[[ClientPlan], Protocol] | None = None,
    set: Mapping[str, Any] | None = None,
    rounds: int = 1,
    timed_rounds: int = 3,
    profile: str | None = None,
    data_dir: str | PathLike[str] | None = None,
    progress: Callable[[int, str, str], None] | None = None,
) -> Agreement:
    """Run real rounds of a scenario's case and compare every step with the formulas.

    As ``fedsim verify`` does, for one case. Needs the extra ``runtime`` (torch, transformers,
    peft). A disagreement is no error here: see :attr:`Agreement.agrees`.

    Parameters
    ----------
    source : str, path or mapping
        A scenario file with ``[data]``; the name of a scenario that ships, by default a tiny one
        of the article's three frameworks; or a mapping with the tables that a file would have.
    case : str, optional
        Name of the case; the only one without it.
    framework : str, Framework or callable, optional
        Instead of a case: ``fedllm``, ``kd_fedllm``, ``split_fedllm``, ``module:NAME``, a
        :class:`fedsim.Framework`, or a bare function from a plan to a protocol, under the file's
        tables.
    set : mapping, optional
        Keys with the values that they get instead of the file's: ``{"lora.r": 4}``.
    rounds : int
        Rounds that are counted, 1 or more, whatever the file's ``num_rounds``.
    timed_rounds : int
        Rounds that are timed; 0 leaves time out.
    profile : str, optional
        Calibrated profile to predict seconds with; without one the file's, or on a CPU the shipped
        one.
    data_dir : str or path, optional
        Folder of data sets; without it, the environment's ``FEDSIM_DATA_DIR``.
    progress : callable, optional
        Told round, party and step of each step that is done.

    Returns
    -------
    Agreement

    Raises
    ------
    ScenarioError
        With a line for every mistake, or if torch is not installed.
    ProtocolError
        If the framework's protocol cannot be carried out.
    CalibrationError
        If the profile is missing or damaged.
    """
    from fedsim.runtime.needs_runtime import check_runtime
    from fedsim.runtime.threads import set_thread_policy
    from fedsim.study.verification_profile import verification_profile

    check_runtime()
    for name, number, least in (("rounds", rounds, 1), ("timed_rounds", timed_rounds, 0)):
        if type(number) is not int or number < least:
            text = f"a whole number of {least} or more is needed."
            raise ScenarioError(f"{name} = {number!r}: {text}")
    document = _document(source, case, framework, set)
    own = document.case.context.profile if profile is None and timed_rounds else None
    known = own
    if known is None:
        known = verification_profile(profile, timed_rounds, document.train.device)
    data = None if data_dir is None else Path(data_dir)
    # What is missing is said ahead of torch, whose import takes seconds.
    document.check_data(data)
    set_thread_policy()
    from fedsim.study.verification import check_countable, title, verified

    check_countable(document)
    outcome = verified(
        document,
        data,
        num_rounds=rounds,
        timed_rounds=timed_rounds,
        profile=known,
        on_step=progress,
    )
    return Agreement(outcome, title(document))


def _document(
    source: str | PathLike[str] | Mapping[str, Any],
    case: str | None,
    framework: str | Framework | Callable[[ClientPlan], Protocol] | None,
    changes: Mapping[str, Any] | None,
) -> TrainingDocument:
    from fedsim.scenario.build.framework import framework_of
    from fedsim.training.file import read_training, read_trainings

    anything: object = source
    is_name = isinstance(anything, str) and anything in FRAMEWORKS
    if is_name or isinstance(anything, Framework) or callable(anything):
        raise ScenarioError(
            f"{anything if is_name else 'a framework'}: a scenario is verified; "
            "write framework=... to verify a framework under the shipped one."
        )
    given = source if isinstance(source, Mapping) else fspath(source)
    if framework is None:
        return read_training(given, changes or {}, case)
    if case is not None:
        raise ScenarioError(f"case = {case!r} has a framework; leave framework or case out.")
    try:
        chosen = framework_of(framework)
    except ScenarioError as error:
        raise ScenarioError(f"framework = {framework!r}: {error}") from error
    found = read_trainings(given, changes or {}, frameworks=[chosen])
    return found[0]


@dataclass(frozen=True)
class Agreement:
    """Whether a real run and the formulas agree, step by step.

    Attributes
    ----------
    outcome : Verification
        Every count, predicted and measured, with seconds and peak memory beside them.
    title : str
        What was run, in words.
    """

    outcome: Verification = field(repr=False)
    title: str

    @property
    def framework(self) -> str:
        """The framework's name."""
        return self.outcome.framework

    @property
    def case(self) -> str:
        """The scenario's case that was run."""
        return self.outcome.case

    @property
    def agrees(self) -> bool:
        """Whether all bytes and FLOP are equal to the last unit."""
        return self.outcome.agrees

    @property
    def differences(self) -> list[str]:
        """Each row that differs, with what was predicted and measured; empty where all agree."""
        return [str(found) for found in self.outcome.found]

    @property
    def table(self) -> Mapping[str, Any]:
        """The framework's entry in ``outcomes`` of the command's JSON."""
        return self.outcome.as_dict()

    def to_pandas(self) -> pd.DataFrame:
        """One row a step, in the order of the protocol, summed over clients and rounds.

        ``predicted.`` and ``measured.`` stand before each count's name in the JSON; ``agrees`` says
        whether every row of the step is equal. Seconds are of one round, NA for what is not timed.

        Raises
        ------
        ScenarioError
            If pandas is not installed.
        """
        return self._columns().to_pandas()

    def to_arrow(self) -> pa.Table:
        """The table of :meth:`to_pandas` as a ``pyarrow.Table``."""
        return self._columns().to_arrow()

    def show(self) -> None:
        """Print the command's report."""
        from fedsim.report.console import show
        from fedsim.report.run.verify import verification_report

        show(verification_report([self.outcome], self.title))

    def __str__(self) -> str:
        from fedsim.report.console import as_text
        from fedsim.report.run.verify import verification_report

        return as_text(verification_report([self.outcome], self.title))

    def _repr_html_(self) -> str:
        sentences = [self.title + "."]
        if self.agrees:
            sentences.append("Predicted and measured bytes and FLOP are equal to the last unit.")
        else:
            sentences += [f"Differs: {line}." for line in self.differences[:5]]
        rows = []
        for step in self.table["steps"]:
            one, other = step["predicted"], step["measured"]
            rows.append([step["step"], *_shown(one), *_shown(other)])
        header = [f"{what}, {how}" for how in ("predicted", "measured") for what in _SHOWN]
        return as_html(f"{self.framework}: {_verdict(self)}", sentences, ["step", *header], rows)

    def _columns(self) -> Table:
        return Table(dict(_columns(self)))


def _shown(row: Mapping[str, int]) -> list[str]:
    return [
        f"{row['uplink_payload_bytes'] + row['downlink_payload_bytes']:,}",
        f"{row['client_flop'] + row['server_flop']:,}",
    ]


def _verdict(agreement: Agreement) -> str:
    return "agrees" if agreement.agrees else "differs"


def _columns(agreement: Agreement) -> Iterator[tuple[str, Column]]:
    steps = agreement.table["steps"]
    differing = {found.key.step for found in agreement.outcome.found}
    yield "framework", Column("text", (agreement.framework,) * len(steps))
    yield "step", Column("text", tuple(step["step"] for step in steps))
    yield "agrees", Column("flag", tuple(step["step"] not in differing for step in steps))
    for side in ("predicted", "measured"):
        for name in _COUNTS:
            yield f"{side}.{name}", Column("integer", tuple(step[side][name] for step in steps))
    for name in ("predicted_s", "measured_s"):
        yield name, Column("number", tuple(step[name] for step in steps))
    for number, end in enumerate(("low", "high")):
        ends = [step["predicted_interval_s"] for step in steps]
        values = tuple(None if pair is None else pair[number] for pair in ends)
        yield f"predicted_interval_s.{end}", Column("number", values)
