"""Compile the engines' kernels ahead of the cases: what comes once belongs to none of them."""

from __future__ import annotations

from fedsim import scale
from fedsim.spec.link import RateTrace
from fedsim.spec.policy import PolicySpec
from toy_fleet import ASK, BYTES, DOWN, UP, WORK, toy_class, toy_server, toy_simulation

__all__ = ["warm_up"]

_MODES = (
    PolicySpec(),
    PolicySpec(mode="buffered", buffer_size=1),
    PolicySpec(mode="windowed", window_s=5.0),
)


def warm_up() -> None:
    """Run every kind of path of ``scale`` once, on a toy fleet."""
    trace = RateTrace((0.0, 1.5), (1.0, 0.5), period_s=100.0)
    for policy in _MODES:
        for steps in ((WORK, UP), (WORK, ASK, UP)):
            for server in (toy_server(), toy_server(uplink_bytes_per_s=float(BYTES))):
                for fleet in (toy_class("c", num=3), toy_class("c", num=3, trace=trace)):
                    scale.simulate(
                        toy_simulation(
                            fleet, steps=steps, behind=(DOWN,), policy=policy, server=server
                        )
                    )
