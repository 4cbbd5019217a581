"""A scenario's answer as reports read it: one view on each result's table.

Reads the published JSON and nothing else, so an answer written yesterday is shown like a fresh one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fedsim.protocol import FRAMEWORKS

__all__ = ["SIMULATING_ENGINES", "Result", "framework_label", "results_of"]

SIMULATING_ENGINES: Final = ("des", "scale", "sampled")


def framework_label(name: str) -> str:
    """A framework's name as the article writes it; a user's own stays as it is."""
    known = FRAMEWORKS.get(name)
    return name if known is None else known.title


@dataclass(frozen=True)
class Result:
    """One result of a scenario.

    Attributes
    ----------
    table : mapping
        As in the JSON.
    """

    table: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Case and swept values."""
        return str(self.table["name"])

    @property
    def framework(self) -> str:
        """The framework's name."""
        return str(self.table["framework"])

    @property
    def status(self) -> str:
        """``ok``, ``partly`` (some rounds failed), ``failed`` (all did) or ``infeasible``."""
        return str(self.table["status"])

    @property
    def is_feasible(self) -> bool:
        """Whether it can run as planned, successfully or not."""
        return self.status != "infeasible"

    @property
    def is_comparable(self) -> bool:
        """Whether it takes part in comparisons: what never succeeds wins nothing."""
        return self.status in ("ok", "partly")

    @property
    def case(self) -> str:
        """Name of its case."""
        return str(self.table.get("case") or self.name.partition(" ")[0])

    @property
    def axes(self) -> Mapping[str, Any]:
        """Swept keys with this result's values."""
        axes: Mapping[str, Any] = self.table.get("axes") or {}
        return axes

    def values_without(self, keys: tuple[str, ...] = ()) -> str:
        """Its swept values but for some keys: ``r=8, cut_layer=4``."""
        return ", ".join(
            f"{key.rpartition('.')[2]}={value if isinstance(value, str) else json.dumps(value)}"
            for key, value in self.axes.items()
            if key not in keys
        )

    @property
    def successful_round(self) -> Mapping[str, Any]:
        """What a round that succeeds takes: ``time_s``, ``energy_j``, ``money``, with intervals."""
        found: Mapping[str, Any] = self.table.get("successful_round") or {}
        return found

    @property
    def draws(self) -> Mapping[str, Any]:
        """What a round takes in the draws that all results share."""
        draws: Mapping[str, Any] = self.table.get("common_draws") or {}
        return draws

    @property
    def excluded(self) -> Sequence[Mapping[str, Any]]:
        """Classes of clients that cannot take part and were left out."""
        return list(self.table.get("excluded") or ())

    @property
    def is_lower_bound(self) -> bool:
        """Whether its time is a lower bound."""
        return bool(self.table["exactness"]["round_time_s"] == "lower_bound")

    @property
    def engine(self) -> str:
        """The interpreter that answered; empty in answers of the time when there was but one."""
        return str(self.table.get("engine_used") or "")

    @property
    def is_simulated(self) -> bool:
        """Whether its rounds were simulated one by one."""
        return self.engine in SIMULATING_ENGINES

    @property
    def waits(self) -> bool:
        """Whether some of its round is spent waiting; rounding errors are no wait."""
        return self.round_time["wait"] > 1e-9 * self.round_time["mean"]

    @property
    def engine_reason(self) -> str:
        """Why that interpreter answered."""
        return str(self.table.get("engine_reason") or "")

    @property
    def rounds(self) -> Mapping[str, int]:
        """Sums over rounds of clients by what became of them; empty where nothing was simulated."""
        rounds: Mapping[str, int] = self.table.get("rounds") or {}
        return rounds

    @property
    def wasted(self) -> Mapping[str, float]:
        """What late and lost work took; empty where nothing was simulated."""
        wasted: Mapping[str, float] = self.table.get("wasted") or {}
        return wasted

    @property
    def utilization(self) -> Mapping[str, float | None]:
        """Shares of the time in which the server's resources were busy; None: without limit."""
        utilization: Mapping[str, float | None] = self.table.get("utilization") or {}
        return utilization

    @property
    def energy_j(self) -> Mapping[str, float]:
        """Energy of all clients and rounds by what it is for, as far as it is known [J]."""
        energy = self.table.get("energy") or {}
        parts = {**(energy.get("clients") or {}), **energy}
        return {name: value for name, value in parts.items() if isinstance(value, (int, float))}

    @property
    def missing_energies(self) -> Sequence[str]:
        """Figures without which the sum of energies is a lower bound."""
        return list((self.table.get("energy") or {}).get("missing") or ())

    @property
    def privacy(self) -> Mapping[str, Any]:
        """What hides clients' contributions, with its steps; empty where nothing does."""
        privacy: Mapping[str, Any] = self.table.get("privacy") or {}
        return privacy

    @property
    def money(self) -> Mapping[str, Any]:
        """What all rounds cost, by kind, with the currency; empty where no price is known."""
        money: Mapping[str, Any] = self.table.get("money") or {}
        return money

    @property
    def suggestions(self) -> Sequence[Mapping[str, Any]]:
        """Changes that would make it feasible: for whom, of which keys, with what peak."""
        return list(self.table.get("suggestions") or ())

    def mean_of_rounds(self, fate: str) -> float:
        """Clients that were ``asked``, ``used``, ``late`` or ``lost``, in the mean of rounds."""
        return float(self.rounds.get(f"num_{fate}", 0) / self.table["num_rounds"])

    @property
    def classes(self) -> list[Mapping[str, Any]]:
        """Classes of clients."""
        return list(self.table["classes"])

    @property
    def plan(self) -> Mapping[str, Any]:
        """Plan of the largest class, which explains most of the result."""
        largest = max(self.classes, key=lambda table: table["num_clients"])
        plan: Mapping[str, Any] = largest["plan"]
        return plan

    @property
    def samples_per_client(self) -> float:
        """Private samples of a client in a round, in the mean over clients."""
        total = sum(
            table["num_clients"] * table["plan"]["workload"]["samples_per_client"]
            for table in self.classes
        )
        return float(total / self.num_clients)

    @property
    def memory_margin(self) -> float:
        """How far predicted peaks of its clients may be off, as a share of them."""
        return float(max(table.get("memory_margin") or 0.0 for table in self.classes))

    @property
    def is_tight(self) -> bool:
        """Whether it fits into memory only as long as the predicted peak is not too low."""
        parts = [*self.classes, self.table["server_per_round"]]
        return self.is_feasible and any(part.get("memory_fit") == "tight" for part in parts)

    @property
    def num_clients(self) -> int:
        """All clients."""
        return sum(table["num_clients"] for table in self.classes)

    def per_client(self, quantity: str) -> float:
        """Mean over clients of one round's quantity; a whole number where all are alike.

        Where plans change by round, in the mean over all rounds too.
        """
        return self._over_rounds(
            [_mean(period["classes"], "per_client_round", quantity) for period in self.periods]
        ) or _mean(self.classes, "per_client_round", quantity)

    def per_client_setup(self, quantity: str) -> float:
        """Mean over clients of a quantity of the set-up."""
        return _mean(self.classes, "per_client_setup", quantity)

    @property
    def exchanged_bytes(self) -> float:
        """Payload up and down, of a client in a round [B]."""
        return self.per_client("uplink_payload_bytes") + self.per_client("downlink_payload_bytes")

    @property
    def setup_bytes(self) -> float:
        """Payload of a client's set-up, up and down [B]."""
        return self.per_client_setup("uplink_payload_bytes") + self.per_client_setup(
            "downlink_payload_bytes"
        )

    @property
    def client_flop(self) -> float:
        """Of a client in a round [FLOP]."""
        return self.per_client("client_flop")

    @property
    def server_flop(self) -> int:
        """Of the server in a round, for all clients, in the mean over rounds [FLOP]."""
        rounds = [_server_flop(period) for period in self.periods]
        return int(self._over_rounds(rounds) or _server_flop(self.table))

    @property
    def periods(self) -> list[Mapping[str, Any]]:
        """Stretches of rounds with equal plans; none where all rounds are planned alike."""
        return list(self.table.get("periods") or ())

    @property
    def peak_memory_bytes(self) -> int:
        """Of the client that needs most [B]."""
        return max(int(table["per_client_round"]["peak_memory_bytes"]) for table in self.classes)

    @property
    def round_time(self) -> Mapping[str, float]:
        """Seconds of a round, by part and with their interval."""
        time: Mapping[str, float] = self.table["round_time_s"] or {}
        return time

    def _over_rounds(self, values: Sequence[float]) -> float:
        """The mean of values by period over all rounds; 0 without periods."""
        lengths = [period["last"] - period["first"] + 1 for period in self.periods]
        total = sum(n * value for n, value in zip(lengths, values, strict=True))
        return total / sum(lengths) if lengths else 0.0


def _mean(classes: Sequence[Mapping[str, Any]], group: str, quantity: str) -> float:
    """Over clients."""
    num_clients = sum(table["num_clients"] for table in classes)
    total = sum(table["num_clients"] * table[group][quantity] for table in classes)
    mean, rest = divmod(int(total), num_clients)
    return mean if rest == 0 else float(total / num_clients)


def _server_flop(table: Mapping[str, Any]) -> int:
    """Of a result or a period."""
    each = sum(c["num_clients"] * c["per_client_round"]["server_flop"] for c in table["classes"])
    return int(each + table["server_per_round"]["flop"])


def results_of(scenario: Mapping[str, Any]) -> list[Result]:
    """Views on all results of one entry of ``scenarios``."""
    return [Result(table) for table in scenario["results"]]
