"""A scenario's answer as reports read it: one view on each result's table.

Reads the published JSON and nothing else, so an answer written yesterday is shown like a fresh one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["FRAMEWORK_LABELS", "Result", "framework_label", "results_of"]

FRAMEWORK_LABELS: Final = {
    "fedllm": "FedLLM",
    "kd_fedllm": "KD-FedLLM",
    "split_fedllm": "Split-FedLLM",
}


def framework_label(name: str) -> str:
    """A framework's name as the article writes it; a user's own stays as it is."""
    return FRAMEWORK_LABELS.get(name, name)


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
    def is_feasible(self) -> bool:
        """Whether it can run as planned."""
        return bool(self.table["status"] == "ok")

    @property
    def is_lower_bound(self) -> bool:
        """Whether its time is a lower bound."""
        return bool(self.table["exactness"]["round_time_s"] == "lower_bound")

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
    def num_clients(self) -> int:
        """All clients."""
        return sum(table["num_clients"] for table in self.classes)

    def per_client(self, quantity: str) -> float:
        """Mean over clients of one round's quantity; a whole number where all are alike."""
        return self._mean("per_client_round", quantity)

    def per_client_setup(self, quantity: str) -> float:
        """Mean over clients of a quantity of the set-up."""
        return self._mean("per_client_setup", quantity)

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
        """Of the server in a round, for all clients [FLOP]."""
        each = sum(
            table["num_clients"] * table["per_client_round"]["server_flop"]
            for table in self.classes
        )
        return int(each + self.table["server_per_round"]["flop"])

    @property
    def peak_memory_bytes(self) -> int:
        """Of the client that needs most [B]."""
        return max(int(table["per_client_round"]["peak_memory_bytes"]) for table in self.classes)

    @property
    def round_time(self) -> Mapping[str, float]:
        """Seconds of a round, by part and with their interval."""
        time: Mapping[str, float] = self.table["round_time_s"]
        return time

    def _mean(self, group: str, quantity: str) -> float:
        total = sum(table["num_clients"] * table[group][quantity] for table in self.classes)
        mean, rest = divmod(int(total), self.num_clients)
        return mean if rest == 0 else float(total / self.num_clients)


def results_of(scenario: Mapping[str, Any]) -> list[Result]:
    """Views on all results of one entry of ``scenarios``."""
    return [Result(table) for table in scenario["results"]]
