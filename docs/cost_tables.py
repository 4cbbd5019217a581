"""The cost model's own table as Markdown, and hand-worked figures held against it.

A figure on the page is computed twice, by the closed form that the page gives and by the table of
rows that fedsim counts with. The build stops where the two differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from docs_plans import TRAINING, split_plan

from fedsim.cost.duration import transfer_seconds
from fedsim.cost.flop import operation_flop
from fedsim.cost.graph import Extent, Row, Tensor
from fedsim.cost.model_graph import checkpoint_units, part_work
from fedsim.cost.work import Work
from fedsim.protocol.operation import (
    BackwardFromCut,
    ForwardToCut,
    InferLogits,
    Part,
    Train,
    TrainAboveCut,
)
from fedsim.protocol.payload import adapter_payload
from fedsim.protocol.step import Direction
from fedsim.spec.batch import BatchShape
from fedsim.spec.device import FEATURES
from fedsim.spec.link_catalogue import link
from fedsim.units import format_bytes, format_bytes_per_s, format_seconds

__all__ = ["example_table", "feature_table", "row_table", "saved_table", "transfer_table"]

_L: Final = 12
_D: Final = 768
_T: Final = 80
_R: Final = 8
_C: Final = 77
_H: Final = 12
_ONE: Final = BatchShape.padded(1, _T)
_WHOLE: Final = Part.whole(_L)
_CUT: Final = 4


def row_table() -> str:
    """Rows of GPT-2's block 5 under LoRA on ``attn.c_attn``, and what each costs."""
    lines = [
        "| row | from | kind | FLOP forward, a token | gradients | FLOP backward, a token | kept |",
        "|---|---|---|---|---|---|---|",
    ]
    needing = {"hidden.8"}
    for row in checkpoint_units(TRAINING, Part(8, 10, has_head=False))[0].rows:
        needy = [t for t in row.inputs if t.is_trained or t.name in needing]
        if needy:
            needing.add(row.output.name)
        lines.append(f"| {' | '.join(_cells(row, needy))} |")
    return "\n".join(lines) + "\n"


def example_table() -> str:
    """Closed forms for GPT-2 with r = 8 and 77 classes, one sample padded to 80 tokens."""
    lines = ["| quantity | closed form | FLOP |", "|---|---|---|"]
    for name, (formula, by_hand, counted) in _examples().items():
        if by_hand != counted:
            raise ValueError(f"{name}: {by_hand:,} by hand, {counted:,} by the table of rows")
        lines.append(f"| {name} | `{formula}` | {counted:,} |")
    return "\n".join(lines) + "\n"


def saved_table() -> str:
    """Bytes that one block keeps for the backward pass, one sample of 80 tokens."""
    lines = ["| activation function | closed form | B |", "|---|---|---|"]
    for activation, widths in (("gelu_new", 22), ("gelu_pytorch_tanh", 10)):
        model = replace(TRAINING.model, activation=activation)
        work = part_work(replace(TRAINING, model=model), Part(8, 10, has_head=False))
        counted = 4 * sum(extent.of(_ONE) for extent in work.saved.values())
        by_hand = 4 * (widths * _T * _D + _H * _T * _T + _T * _R + 4 * _T)
        if by_hand != counted:
            raise ValueError(f"saved, {activation}: {by_hand:,} by hand, {counted:,} counted")
        formula = f"4 ({widths} T d + h T² + T r + 4 T)"
        lines.append(f"| `{activation}` | `{formula}` | {counted:,} |")
    return "\n".join(lines) + "\n"


def transfer_table() -> str:
    """Step a3's message on links of the catalogue, modeled and by bytes over rate."""
    whole = Part.whole(_L)
    num_bytes = adapter_payload(TRAINING, whole).message_bytes
    lines = [
        "| link, up | message | bytes / rate | modeled | more by |",
        "|---|---|---|---|---|",
    ]
    for name in ("3g", "lte-uk", "home-global", "gbe"):
        spec = link(name)
        plain = num_bytes / spec.uplink_bytes_per_s
        modeled = transfer_seconds(num_bytes, Direction.UP, spec)
        lines.append(
            f"| `{name}`, {format_bytes_per_s(spec.uplink_bytes_per_s)}, round trip "
            f"{format_seconds(spec.round_trip_s)} | {format_bytes(num_bytes)} | "
            f"{format_seconds(plain)} | {format_seconds(modeled)} | {modeled / plain - 1:.0%} |"
        )
    return "\n".join(lines) + "\n"


def feature_table() -> str:
    """The time model's features, with what ``Work`` says of them."""
    meanings = _attribute_texts(Work.__doc__ or "")
    lines = ["| feature | what it is |", "|---|---|"]
    for feature in FEATURES:
        lines.append(f"| `{feature}` | {meanings[feature]} |")
    return "\n".join(lines) + "\n"


def _examples() -> Mapping[str, tuple[str, int, int]]:
    t, d, r, c, depth, s = _T, _D, _R, _C, _L, _CUT
    forward = 24 * t * d * d + 4 * t * t * d + 8 * t * d * r
    backward = 24 * t * d * d + 8 * t * t * d + 16 * t * d * r
    low = 6 * t * d * d + 2 * t * d * r
    head = 2 * t * d * c
    block = part_work(TRAINING, Part(8, 10, has_head=False))
    lowest = part_work(TRAINING, Part(0, 2, has_head=False))

    def sums(extents: Mapping[str, Extent]) -> int:
        return sum(extent.of(_ONE) for extent in extents.values())

    split = split_plan(_CUT).training
    below, above = Part.below(2 * s), Part.above(2 * s, depth)
    counted: Callable[..., int] = operation_flop
    return {
        "`fwd_blk`, a block forward": (
            "24 T d² + 4 T² d + 8 T d r",
            forward,
            sums(block.forward_flop),
        ),
        "`bwd_blk`, a block backward": (
            "24 T d² + 8 T² d + 16 T d r",
            backward,
            sums(block.backward_flop),
        ),
        "`low_save`, not computed in the lowest block": (
            "6 T d² + 2 T d r",
            low,
            sums(block.backward_flop) - sums(lowest.backward_flop),
        ),
        "`F_fwd`, logits of one sample": (
            "L fwd_blk + 2 T d C",
            depth * forward + head,
            counted(InferLogits(_WHOLE, _ONE), TRAINING),
        ),
        "`F_train`, one training sample": (
            "L (fwd_blk + bwd_blk) - low_save + 6 T d C",
            depth * (forward + backward) - low + 3 * head,
            counted(Train(_WHOLE, _ONE), TRAINING),
        ),
        "c1 with s = 4": ("s fwd_blk", s * forward, counted(ForwardToCut(below, _ONE), split)),
        "c3 with s = 4": (
            "(L - s) (fwd_blk + bwd_blk) + 6 T d C",
            (depth - s) * (forward + backward) + 3 * head,
            counted(TrainAboveCut(above, _ONE), split),
        ),
        "c5 with s = 4": (
            "s bwd_blk - low_save",
            s * backward - low,
            counted(BackwardFromCut(below, _ONE), split),
        ),
    }


def _cells(row: Row, needy: list[Tensor]) -> tuple[str, ...]:
    is_product = row.kind == "product"
    flop = _letters(row.flop) if is_product else ""
    factor = len(needy)
    backward = ""
    if is_product and factor:
        backward = _letters(row.flop.times(factor))
    names = {t.name for t in needy}
    if row.kind == "function":
        kept = row.kept if needy else ()
    else:
        left, right = row.inputs
        kept = tuple(o for t, o in ((left, right), (right, left)) if t.name in names)
    return (
        f"`{_short(row.output)}`",
        ", ".join(f"`{_short(t)}`" for t in row.inputs),
        row.kind,
        flop,
        ", ".join(f"`{_short(t)}`" for t in needy),
        backward,
        ", ".join(f"`{_short(t)}`" for t in kept if not t.is_parameter),
    )


def _short(tensor: Tensor) -> str:
    return tensor.name.removeprefix("8.").removeprefix("9.")


def _letters(flop: Extent) -> str:
    """FLOP of a product for one token, in letters; attention's grow with the text's length."""
    if flop.per_pair:
        return f"{flop.per_pair // _D} T d"
    for unit, name in ((_D * _D, "d²"), (_D * _R, "d r")):
        if flop.per_token % unit == 0:
            return f"{flop.per_token // unit} {name}"
    return f"{flop.per_token:,}"


def _attribute_texts(docstring: str) -> dict[str, str]:
    """Texts of a numpydoc ``Attributes`` section; names that share a line share the text."""
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in docstring.splitlines():
        heading = re.fullmatch(r" {4}(\w+(?:, \w+)*) : \w+", line)
        if heading:
            names = heading[1].split(", ")
        elif names and line.strip():
            for name in names:
                texts[name] = f"{texts.get(name, '')} {line.strip()}".strip()
    undescribed = [feature for feature in FEATURES if not texts.get(feature)]
    if undescribed:
        raise ValueError(f"Work's docstring says nothing of {undescribed}")
    return texts
