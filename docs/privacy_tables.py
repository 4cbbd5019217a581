"""Tables of secure aggregation and differential privacy as Markdown, each figure computed twice.

Formulas are written here a second time, in letters and in numbers. The build stops where they and
the protocol that is counted differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from docs_plans import kd_plan, plan, split_plan

from fedsim.cost.flop import operation_flop
from fedsim.protocol import FRAMEWORKS
from fedsim.protocol.privacy import PRIVACY_STEPS, masked_values, with_privacy
from fedsim.protocol.step import Compute, Gather, Protocol, Transfer, leaf_steps
from fedsim.spec.batch import TextLengths
from fedsim.spec.plan import ClientPlan
from fedsim.spec.privacy import PrivacySpec, SecureAggregation
from fedsim.units import format_bytes, format_flop

__all__ = ["framework_table", "growth_table", "step_formula_table"]

_SECAGG: Final = PrivacySpec(secure_aggregation="secagg", differential_privacy="central")
_KEY: Final = 92_152
_EXAMPLE_CLIENTS: Final = 100
#: The case study's public samples and samples a client; neither changes what adapters take.
_PUBLIC_SAMPLES: Final = 5002
_SCHEMES: Final[tuple[SecureAggregation, ...]] = ("secagg", "secagg+")

_Row = tuple[int, int, int]


def step_formula_table() -> str:
    """Every added step in letters, and in numbers for FedLLM's adapters and 100 clients."""
    columns = [_counted(with_privacy(FRAMEWORKS["fedllm"], _of(s), _EXAMPLE_CLIENTS)(plan()))
               for s in _SCHEMES]  # fmt: skip
    by_hand = [_by_hand(_of(s), _EXAMPLE_CLIENTS, 354_048) for s in _SCHEMES]
    lines = [
        "| step | what | bytes up | bytes down | operations | `secagg` | `secagg+` |",
        "|---|---|---|---|---|---|---|",
    ]
    for step, letters in _LETTERS.items():
        what = PRIVACY_STEPS.get(step, "masked upload, in its place")
        cells = []
        for counted, expected in zip(columns, by_hand, strict=True):
            if counted[step] != expected[step]:
                raise ValueError(f"{step}: {expected[step]} by hand, {counted[step]} counted")
            cells.append(_cell(counted[step]))
        lines.append(f"| `{step}` | {what} | {' | '.join((*letters, *cells))} |")
    return "\n".join(lines) + "\n"


def growth_table() -> str:
    """What a client and the server have more of with the number of clients; FedLLM's adapters."""
    lines = [
        "| clients n | scheme | neighbors k | shares that recover | bits a value | keys and shares "
        "of a client | its upload longer by | its operations | the server's |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for n in (10, 100, 1000, 10_000):
        lines.extend(f"| {' | '.join(_growth_cells(n, scheme))} |" for scheme in _SCHEMES)
    return "\n".join(lines) + "\n"


def framework_table() -> str:
    """What a client of each framework sends and receives in a round, hidden and not."""
    lines = [
        "| framework | values that are summed | plain, up and down | with `secagg` | with "
        "`secagg+` | with `secagg+` and 16 bits |",
        "|---|---|---|---|---|---|",
    ]
    specs = [PrivacySpec(secure_aggregation=s) for s in _SCHEMES]
    specs.append(replace(specs[1], quantization_bits=16))
    for name, framework_plan in _plans().items():
        framework = FRAMEWORKS[name]
        hidden = [with_privacy(framework, s, _EXAMPLE_CLIENTS)(framework_plan) for s in specs]
        plain = _exchanged(framework(framework_plan))
        cells = [f"`{name}`", f"{masked_values(hidden[0]):,}", format_bytes(plain)]
        for protocol in hidden:
            num_bytes = _exchanged(protocol)
            cells.append(f"{format_bytes(num_bytes)} ({100 * (num_bytes / plain - 1):+.1f} %)")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


#: Bytes up, bytes down and operations of each step: ``c`` is 92 B, ``K`` a key agreement.
_LETTERS: Final[Mapping[str, tuple[str, str, str]]] = {
    "sa1": ("64", "", "2 K"),
    "sa2": ("92 k", "64 k", "k K + 72 h (t - 1) + 48 k"),
    "dp1": ("", "", "4 m, or 3 m for logits; + 13 m if local"),
    "sa3": ("", "92 k", "k K + m (2 + 6 (k + 1))"),
    "a3": ("⌈m b / 8⌉", "", ""),
    "sa4": ("32 h", "h", "48 k"),
    "sa5": (
        "",
        "",
        "s (32 (2 t + 3) (t - 1) + 12,288) + 36 n t + p K + m (2 + 6 (n - d + p))",
    ),
    "dp2": ("", "", "13 m if central"),
}


def _of(scheme: SecureAggregation) -> PrivacySpec:
    return replace(_SECAGG, secure_aggregation=scheme)


def _by_hand(spec: PrivacySpec, n: int, m: int) -> dict[str, _Row]:
    """The letters in numbers, nobody dropping out and noise at the server."""
    is_complete = spec.secure_aggregation == "secagg"
    # The next integer above log2 of what is below n.
    log_n = (n - 1).bit_length()
    k = n - 1 if is_complete else min(2 * log_n, n - 1)
    h, s = (n, 1) if is_complete else (k, n)
    t = 2 * h // 3 + 1
    bits = (spec.quantization_bits or 32) + log_n
    return {
        "sa1": (64, 0, 2 * _KEY),
        "sa2": (92 * k, 64 * k, k * _KEY + 72 * h * (t - 1) + 48 * k),
        "dp1": (0, 0, 4 * m),
        "sa3": (0, 92 * k, k * _KEY + m * (2 + 6 * (k + 1))),
        "a3": (-(-m * bits // 8), 0, 0),
        "sa4": (32 * h, h, 48 * k),
        "sa5": (
            0,
            0,
            s * (32 * (2 * t + 3) * (t - 1) + 12_288) + 36 * n * t + m * (2 + 6 * n),
        ),
        "dp2": (0, 0, 13 * m),
    }


def _growth_cells(n: int, scheme: SecureAggregation) -> Iterator[str]:
    spec = PrivacySpec(secure_aggregation=scheme)
    rows = _counted(with_privacy(FRAMEWORKS["fedllm"], spec, n)(plan()))
    plain = _counted(FRAMEWORKS["fedllm"](plan()))["a3"][0]
    own = [rows[step] for step in ("sa1", "sa2", "sa3", "sa4")]
    yield f"{n:,}"
    yield f"`{scheme}`"
    yield f"{spec.num_neighbors(n):,}"
    yield f"{spec.threshold(n):,} of {spec.num_shares(n):,}"
    yield str(spec.ring_bits(n, 32))
    yield format_bytes(sum(up + down for up, down, _ in own))
    yield format_bytes(rows["a3"][0] - plain)
    yield format_flop(sum(flop for _, _, flop in own))
    yield format_flop(rows["sa5"][2])


def _plans() -> dict[str, ClientPlan]:
    """The case study's of each framework."""
    text = (TextLengths(1667, 80),)
    return {
        "fedllm": replace(plan(), train_epochs=text),
        "kd_fedllm": replace(
            kd_plan(), train_epochs=text, public_text=TextLengths(_PUBLIC_SAMPLES, 80)
        ),
        "split_fedllm": replace(split_plan(), train_epochs=text),
    }


def _exchanged(protocol: Protocol) -> int:
    return sum(up + down for up, down, _ in _counted(protocol).values())


def _counted(protocol: Protocol) -> dict[str, _Row]:
    """Payload bytes up and down, and operations, by step of a round."""
    rows: dict[str, _Row] = {}
    training = plan().training
    for segment in protocol.round:
        if isinstance(segment, Gather):
            continue
        for times, step in leaf_steps(segment.steps):
            up, down, flop = rows.get(step.label, (0, 0, 0))
            if isinstance(step, Transfer):
                num_bytes = times * step.payload.payload_bytes
                up, down = (
                    (up + num_bytes, down) if step.direction == "up" else (up, down + num_bytes)
                )
            elif isinstance(step, Compute) and step.label in PRIVACY_STEPS:
                flop += times * operation_flop(step.operation, training)
            rows[step.label] = (up, down, flop)
    return rows


def _cell(row: _Row) -> str:
    up, down, flop = row
    parts = [f"{up:,} B up"] * bool(up) + [f"{down:,} B down"] * bool(down)
    return ", ".join([*parts, *[f"{format_flop(flop)}"] * bool(flop)])
