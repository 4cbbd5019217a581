"""``fedsim calibrate`` for a reader: what the device achieves and how well the fit holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from rich import box
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table

from fedsim.calibration.check import Check
from fedsim.calibration.disturbance import fused_over_eager
from fedsim.calibration.profile import Profile
from fedsim.calibration.profile_file import MAX_NOISE, ErrorTable, Fit, ProfileFile
from fedsim.calibration.run import Calibration
from fedsim.cost.duration import PARTS, compute_seconds, operation_seconds
from fedsim.cost.flop import operation_flop
from fedsim.cost.work import operation_work
from fedsim.protocol.operation import (
    BackwardFromCut,
    Distill,
    ForwardToCut,
    InferLogits,
    Operation,
    Part,
    Train,
    TrainAboveCut,
)
from fedsim.spec.batch import BatchShape
from fedsim.spec.device import FEATURES, DeviceSpec
from fedsim.spec.dtype import FloatDtype
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import Numerics, TrainingSpec
from fedsim.spec.tuning import LoraTuning
from fedsim.units import format_bytes, format_flop_per_s, format_seconds

__all__ = ["print_calibration", "print_check", "print_profile"]

_SPLITS: Final = {
    "configuration": "configurations left out",
    "width_or_depth": "widths, depths left out",
    "batch_and_tokens": "batch and length left out",
    "framework": "frameworks left out",
    "larger_model": "widest model left out",
}
_REGIMES: Final = {
    "model": "passes over the model",
    "parameters": "averages, replacements",
    "message": "messages",
    "codec": "encoding, decoding",
}
#: VALIDATION's aims on a quiet device: median absolute error by split.
_AIMS: Final = {
    "configuration": 0.025,
    "width_or_depth": 0.05,
    "framework": 0.06,
    "larger_model": 0.05,
}
#: The aim where the machine is noisy: times its own noise.
_NOISE_AIM: Final = 1.3
#: Of the article's case study.
_TOKENS: Final = 80
_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)


def print_calibration(console: Console, result: Calibration) -> None:
    """Print the profile, the comparison of forms and baselines, and what was left undone."""
    print_profile(console, result.profile)
    for precision, v in result.validations.items():
        forms = ", ".join(f"{form} {error:.1%}" for form, error in v.form_errors.items())
        console.print(
            f"{precision}: form '{v.model.form}' (cross-validated median error: {forms}; nested "
            f"{v.nested.median:.1%})."
        )
        table = _table(f"{precision}: other rules on the same held-out points")
        for name in ("points", "median", "p95", "bias", "this model: median"):
            table.add_column(name, justify="right")
        for name, errors in v.baselines.items():
            own = v.own_on_baseline[name]
            table.add_row(name, *_cells(errors.num_points, errors), f"{own.median:.1%}")
        console.print(table)
    for shape, ratio in fused_over_eager(result.visits).items():
        console.print(f"fused attention takes {ratio:.0%} of the eager training step at {shape}.")
    num_points = sum(len(v.points) for v in result.validations.values())
    console.print(
        f"{len(result.disturbed)} of {num_points} points never settled; they are flagged in "
        f"{result.profile.file.raw.file} and stay in the fit."
    )
    if result.num_resumed:
        console.print(f"{result.num_resumed} visits came from an interrupted run.")
    folder = result.profile.path.parent
    console.print(f'written: {result.profile.path}  (use it: profile = "{folder}")')


def print_profile(console: Console, profile: Profile) -> None:
    """Print what a profile's device achieves and how far to believe it."""
    file = profile.file
    machine, origin = file.machine, file.provenance
    title = (
        f"{machine.processor} ({machine.device}), {machine.num_threads} threads, torch "
        f"{origin.torch}\nmeasured {origin.date} by '{origin.command}', plan {origin.plan}, "
        f"{origin.num_visits} visits ({origin.num_redone} made again), "
        f"{format_seconds(origin.duration_s)}"
    )
    console.print(Panel(title, title=f"profile '{file.name}'", title_align="left"))
    for precision in file.fit:
        if profile.unusable(precision):
            console.print(f"{profile.unusable(precision)}.", style="bold red", highlight=False)
    console.print(_rates(file))
    for precision, fit in file.fit.items():
        console.print(_achieved(profile.device_for(precision), precision))
        console.print(_errors(precision, fit))
        console.print(_regimes(precision, fit))
    for line in _memory(profile):
        console.print(line)


def print_check(console: Console, file: ProfileFile, check: Check) -> None:
    """Print the sentinels then and now, and the verdict."""
    table = _table(f"profile '{file.name}', measured {file.provenance.date}")
    for name in ("then", "now", "drift", "allowed", ""):
        table.add_column(name, justify="right")
    for one in check.sentinels:
        table.add_row(
            one.name,
            format_seconds(one.then_s),
            format_seconds(one.now_s),
            f"{one.drift:+.1%}",
            f"{one.allowed:.1%}",
            {"holds": "ok", "warns": "drifted", "refuses": "drifted far"}[one.verdict],
        )
    console.print(table)
    for line in check.differences:
        console.print(f"differs: {line}")
    console.print(
        {
            "holds": "The profile holds on this machine.",
            "warns": "Warning: the device or its software drifted; times may be off by as much.",
            "refuses": "The profile does not hold on this machine.",
        }[check.verdict]
    )


def _rates(file: ProfileFile) -> Table:
    table = _table("Fitted rates (± standard error)")
    for precision in file.fit:
        table.add_column(precision, justify="right")
    for feature in FEATURES:
        cells = [
            _rate(feature, fit.seconds_per_unit[feature], fit.standard_error[feature])
            for fit in file.fit.values()
        ]
        table.add_row(feature, *cells)
    return table


def _rate(feature: str, seconds: float, error: float) -> str:
    if seconds == 0:
        return "none of its own"
    share = f" ±{error / seconds:.0%}"
    if feature.endswith("_flop"):
        return format_flop_per_s(1 / seconds) + share
    if feature.endswith("_bytes"):
        return f"{format_bytes(1 / seconds)}/s{share}"
    return f"{format_seconds(seconds)} each{share}"


def _achieved(device: DeviceSpec, precision: str) -> Table:
    """Effective rates of GPT-2's phases, and the batch from which launches no longer dominate."""
    table = _table(
        f"{precision}: GPT-2 124M, 16 x {_TOKENS} tokens, rank 8, cut after block 3 (predicted)"
    )
    for name in ("seconds", "achieves", "launches", "launch-bound"):
        table.add_column(name, justify="right")
    for name, batches in _phases(precision).items():
        operation, training = batches[16]
        seconds = operation_seconds(operation, training, device)
        flop = operation_flop(operation, training)
        bound = [b for b, (one, _) in batches.items() if _launch_share(one, training, device) > 0.5]
        table.add_row(
            name,
            format_seconds(seconds),
            format_flop_per_s(flop / seconds),
            f"{_launch_share(operation, training, device):.0%}",
            f"up to {max(bound)} samples" if bound else "at no batch",
        )
    return table


def _phases(precision: str) -> dict[str, dict[int, tuple[Operation, TrainingSpec]]]:
    numerics = Numerics()
    if precision.startswith("bfloat16"):
        weights: FloatDtype = "bfloat16" if precision == "bfloat16" else "float32"
        numerics = Numerics(weights, "bfloat16")
    training = TrainingSpec(model("gpt2"), HeadSpec(), LoraTuning(r=8), numerics)
    whole, below, above = Part.whole(12), Part.below(6), Part.above(6, 12)
    makers: dict[str, Callable[[BatchShape], Operation]] = {
        "a2, b1 local training": lambda b: Train(whole, b),
        "b2, b6 logits": lambda b: InferLogits(whole, b),
        "b5, b8 distillation": lambda b: Distill(whole, b),
        "c1 client forward": lambda b: ForwardToCut(below, b),
        "c3 server": lambda b: TrainAboveCut(above, b),
        "c5 client backward": lambda b: BackwardFromCut(below, b),
    }
    return {
        name: {b: (make(BatchShape.padded(b, _TOKENS)), training) for b in _BATCHES}
        for name, make in makers.items()
    }


def _launch_share(operation: Operation, training: TrainingSpec, device: DeviceSpec) -> float:
    """Share of a step's time that its operators' launches and its constant take."""
    work = operation_work(operation, training)
    launches = sum(
        amount * device.seconds_per_unit.get(feature, 0.0)
        for feature, amount in zip(FEATURES, work.features(), strict=True)
        if PARTS[feature] == "launches" or feature == "num_calls"
    )
    total = compute_seconds(work, device)
    return min(1.0, launches / total) if total else 0.0


def _errors(precision: str, fit: Fit) -> Table:
    noise = fit.noise["model"]
    table = _table(f"{precision}: errors of passes over the model, {fit.num_shapes} configurations")
    for name in ("points", "median", "p95", "bias", "aim if quiet", "x noise"):
        table.add_column(name, justify="right")
    for split, errors in fit.held_out.items():
        aim = _AIMS.get(split)
        met = "" if aim is None else f"{aim:.1%} {'met' if errors.median <= aim else 'missed'}"
        ratio = f"{errors.median / noise.median:.2f}" if noise.median else ""
        table.add_row(_SPLITS[split], *_cells(errors.num_points, errors), met, ratio)
    table.add_row("test-retest noise", "", f"{noise.median:.1%}", f"{noise.p95:.1%}", "", "", "")
    own = fit.held_out.get("configuration")
    if own is not None and noise.median:
        word = "met" if own.median <= _NOISE_AIM * noise.median else "missed"
        said = f"aim on a noisy machine: at most {_NOISE_AIM} x its noise, {word}."
        if not fit.is_usable:
            said = f"no aim can be met where the noise is above {MAX_NOISE:.0%}: measure again."
        table.caption = f"{said} An error below the noise is luck."
    return table


def _regimes(precision: str, fit: Fit) -> Table:
    table = _table(f"{precision}: 95 % intervals by kind of step")
    for name in ("points", "median", "p95", "bias", "interval", "covers", "noise"):
        table.add_column(name, justify="right")
    for regime, errors in fit.by_regime.items():
        covered = fit.coverage.get(regime)
        share = (
            ""
            if covered is None
            else f"{covered.share:.1%} ({covered.low:.1%} to {covered.high:.1%})"
        )
        table.add_row(
            _REGIMES[regime],
            *_cells(errors.num_points, errors),
            f"x / {fit.interval_95[regime]:.2f}",
            share,
            f"{fit.noise[regime].median:.1%}",
        )
    return table


def _memory(profile: Profile) -> Iterator[RenderableType]:
    memory = profile.file.memory
    if memory is None:
        return
    table = _table(f"Peak memory: counted + {memory.workspace_factor:.2f} x workspace, held out")
    for name in ("points", "median", "p95", "largest", "bias"):
        table.add_column(name, justify="right")
    rows: tuple[tuple[str, ErrorTable | None], ...] = (
        ("configurations left out", memory.peak),
        ("as scenarios count it", memory.unfitted_peak),
        ("unpadded (an upper bound)", memory.unpadded_peak),
        ("saved for the backward pass", memory.saved),
    )
    for name, errors in rows:
        if errors is not None:
            *cells, bias = _cells(errors.num_points, errors)
            table.add_row(name, *cells, f"{errors.largest:.1%}", bias)
    yield table
    margins = profile.memory_margins
    yield (
        f"One measured peak in twenty was above {margins.padded.high_ratio:.2f} times what a "
        f"scenario says, one below {margins.padded.low_ratio:.2f} times; unpadded: above "
        f"{margins.unpadded.high_ratio:.2f}, below {margins.unpadded.low_ratio:.2f} times."
    )


def _cells(num_points: int, errors: object) -> tuple[str, str, str, str]:
    median, p95, bias = (getattr(errors, name) for name in ("median", "p95", "bias"))
    return str(num_points), f"{median:.1%}", f"{p95:.1%}", f"{bias:+.1%}"


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("")
    return table
