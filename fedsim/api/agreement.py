"""``fedsim.verify``: a real run held against the formulas, for a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from fedsim.agreement import Verification
from fedsim.api.notebook import as_html
from fedsim.api.table import Column, Table
from fedsim.errors import ScenarioError, nearest
from fedsim.protocol import Framework
from fedsim.protocol.step import Protocol
from fedsim.spec.plan import ClientPlan

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from fedsim.study.verification_request import VerificationRequest

__all__ = ["Agreement", "VerifyOptions", "verify"]

_SHOWN: Final = ("payload B", "FLOP")
_COUNTS: Final = (
    *("uplink_payload_bytes", "downlink_payload_bytes"),
    *("uplink_message_bytes", "downlink_message_bytes"),
    *("client_flop", "server_flop", "messages", "tokens"),
)


class VerifyOptions(TypedDict, total=False):
    """Options of ``fedsim verify``; its ``--help`` and the page on it explain them.

    ``rank`` is LoRA's, ``target_modules`` are separated by commas, ``data_source`` is ``--data``.
    """

    model: str
    weights: str | None
    weights_from: str | None
    data_source: str
    data_dir: str | PathLike[str] | None
    head: str
    num_clients: int
    samples_per_client: int
    public_samples: int
    split: str
    dirichlet_alpha: float | None
    max_tokens: int | None
    padding: str
    batch_size: int
    rank: int
    target_modules: str | None
    cut_layer: int | None
    half_block: bool
    server_variant: str
    checkpointing: bool
    payload_dtype: str
    codec: str | tuple[str, ...]
    device: str
    seed: int


def verify(
    framework: str | Framework | Callable[[ClientPlan], Protocol] = "fedllm",
    *,
    rounds: int = 1,
    timed_rounds: int = 3,
    profile: str | None = None,
    progress: Callable[[int, str, str], None] | None = None,
    **options: Unpack[VerifyOptions],
) -> Agreement:
    """Run real rounds of a framework and compare every step with the formulas.

    As ``fedsim verify`` does, for one framework. Needs the extra ``runtime`` (torch, transformers,
    peft). A disagreement is no error here: see :attr:`Agreement.agrees`.

    Parameters
    ----------
    framework : str, Framework or callable
        ``fedllm``, ``kd_fedllm``, ``split_fedllm``, ``module:NAME``, a :class:`fedsim.Framework`,
        or a bare function from a plan to a protocol.
    rounds : int
        Rounds that are counted, 1 or more.
    timed_rounds : int
        Rounds that are timed; 0 leaves time out.
    profile : str, optional
        Calibrated profile to predict seconds with; without one, on a CPU, the shipped one.
    progress : callable, optional
        Told round, party and step of each step that is done.
    **options
        See :class:`fedsim.VerifyOptions`: a tiny model with random weights on generated texts
        where nothing else is said.

    Returns
    -------
    Agreement

    Raises
    ------
    ScenarioError
        If the framework or an option cannot be followed, or torch is not installed.
    ProtocolError
        If the framework's protocol cannot be carried out.
    CalibrationError
        If the profile is missing or damaged.
    """
    from fedsim.runtime.needs_runtime import check_runtime
    from fedsim.runtime.threads import set_thread_policy
    from fedsim.scenario.build.framework import framework_of
    from fedsim.study.verification_profile import sentinel_ratios, verification_profile

    check_runtime()
    try:
        chosen = framework_of(framework)
    except ScenarioError as error:
        raise ScenarioError(f"framework = {framework!r}: {error}") from error
    for name, number, least in (("rounds", rounds, 1), ("timed_rounds", timed_rounds, 0)):
        if type(number) is not int or number < least:
            text = f"a whole number of {least} or more is needed."
            raise ScenarioError(f"{name} = {number!r}: {text}")
    request = _request(dict(options))
    known = verification_profile(profile, timed_rounds, request.device)
    # What is missing is said ahead of torch, whose import takes seconds.
    from fedsim.runtime.data import check_dataset

    check_dataset(request.data_source, request.data_dir)
    set_thread_policy()
    from fedsim.study.verification_setup import VerificationSetup
    from fedsim.study.verify import verify as verified

    setup = VerificationSetup.from_request(request)
    outcome = verified(
        setup.builder(chosen),
        chosen.name,
        num_rounds=rounds,
        timed_rounds=timed_rounds,
        device=None if known is None else known.device,
        sentinel_ratios={} if known is None else sentinel_ratios(known, request.device),
        on_step=progress,
    )
    return Agreement(outcome, setup.title)


def _request(given: dict[str, Any]) -> VerificationRequest:
    """What is verified, with a line for each option that does not exist."""
    from fedsim.study.verification_request import VerificationRequest

    allowed = [one.name for one in fields(VerificationRequest)]
    unknown = [name for name in given if name not in allowed]
    if unknown:
        raise ScenarioError(
            "\n".join(
                f"{name}: no such option; allowed: {', '.join(allowed)}.{nearest(name, allowed)}"
                for name in unknown
            )
        )
    if given.get("data_dir") is not None:
        given["data_dir"] = Path(given["data_dir"])
    return VerificationRequest(**given)


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
