"""The catalogue's names with their figures and sources as Markdown."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from math import exp
from typing import Any

from fedsim.spec import device_catalogue, link_catalogue, model_catalogue
from fedsim.spec.device import Z95
from fedsim.units import (
    format_bytes,
    format_bytes_per_s,
    format_flop_per_s,
    format_seconds,
    format_watts,
)

__all__ = ["device_table", "link_spread_table", "link_table", "model_table"]


def model_table() -> str:
    """Shapes of the catalogue's models."""
    lines = [
        "| name | family | L | d | heads (kv) | f | V | positions |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in model_catalogue.model_names():
        m = model_catalogue.model(name)
        lines.append(
            f"| `{name}` | {m.family} | {m.num_layers} | {m.hidden_size:,} | "
            f"{m.num_heads} ({m.num_kv_heads}) | {m.intermediate_size:,} | {m.vocab_size:,} | "
            f"{m.max_positions:,} |"
        )
    return "\n".join(lines) + "\n"


def device_table() -> str:
    """Published peaks and the share of them that is assumed to be reached."""
    lines = [
        "| name | what it is | float32 peak | assumed share | memory bandwidth | memory | power |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in device_catalogue.device_names():
        facts = device_catalogue.device_facts(name)
        peak = facts.peak_flop_per_s["float32"]
        lines.append(
            f"| `{name}` | {facts.description} | {format_flop_per_s(peak.value)} ({peak.mark}) | "
            f"{facts.achieved_fraction['float32']:g} | "
            f"{format_bytes(facts.bandwidth_bytes_per_s.value)}/s "
            f"({facts.bandwidth_bytes_per_s.mark}) | {format_bytes(facts.memory_bytes.value)} | "
            f"{format_watts(facts.power_watts.value)} ({facts.power_watts.mark}) |"
        )
    return "\n".join(lines) + "\n"


def link_table() -> str:
    """Published rates and round trips, and how far a fleet's own rates may be from them."""
    lines = ["| name | down | up | sigma | round trip | source |", "|---|---|---|---|---|---|"]
    for name in link_catalogue.link_names():
        link = link_catalogue.link(name)
        lines.append(
            f"| `{name}` | {format_bytes_per_s(link.downlink_bytes_per_s)} | "
            f"{format_bytes_per_s(link.uplink_bytes_per_s)} | {_sigma(name)} | "
            f"{format_seconds(link.round_trip_s)} | {link.source} |"
        )
    return "\n".join(lines) + "\n"


def link_spread_table() -> str:
    """Where each link's sigma comes from."""
    lines = ["| link | sigma | 95 %: times or over | where it comes from |", "|---|---|---|---|"]
    for name in link_catalogue.link_names():
        spread = _spreads()[name]
        factor = exp(Z95 * spread["sigma"])
        lines.append(f"| `{name}` | {_sigma(name)} | {factor:.2g} | {spread['source']} |")
    return "\n".join(lines) + "\n"


def _sigma(name: str) -> str:
    spread = _spreads()[name]
    return f"{spread['sigma']:g} ({spread['mark']})"


@cache
def _spreads() -> dict[str, dict[str, Any]]:
    """What the data file says of each link's sigma, its mark and source included."""
    text = files("fedsim.spec").joinpath("data", "links.toml").read_text(encoding="utf-8")
    return {name: entry["spread"] for name, entry in tomllib.loads(text).items()}
