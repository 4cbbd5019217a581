"""``accuracy``, ``to_target`` and ``under_budget`` of a result: measured learning curves, used.

Decides which law belongs to a result. A law answers where all that it was measured under is so in
the scenario too (:mod:`fedsim.scenario.answer.learned`) and where it was measured
(:mod:`fedsim.learning.law`). Elsewhere the entries are null, with the reason; with ``[learning]
transfer`` they say what was measured under other conditions, and never as the scenario's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from fedsim.errors import ScenarioError
from fedsim.learning.baseline import baseline
from fedsim.learning.law import LearningLaw, Prediction
from fedsim.learning.store import Laws
from fedsim.scenario.answer.learned import Use, covariates, differences, scenario_use
from fedsim.scenario.answer.run_costs import RunCosts
from fedsim.scenario.file.settings import Settings
from fedsim.scenario.file.work_tables import BUDGETS
from fedsim.spec.federation import FederationSpec

__all__ = ["accuracy_tables", "law_accuracy"]

_ENDS: Final = ("mean", "low", "high")
#: Conditions that are named in a reason; the JSON has them all where they are transferred over.
_MOST_NAMED: Final = 4


def accuracy_tables(
    table: Mapping[str, Any],
    settings: Settings,
    laws: Laws | None,
    federation: FederationSpec,
    costs: RunCosts,
    schedule: str | None = None,
) -> dict[str, Any]:
    """The four entries.

    Parameters
    ----------
    table : mapping
        The rest of the result.
    settings : Settings
    laws : Laws or None
        Those that ``[learning] curves`` names.
    federation : FederationSpec
    costs : RunCosts
    schedule : str, optional
        What changes by round, where anything does.

    Returns
    -------
    dict
        ``accuracy``, ``to_target`` and ``under_budget``, and ``no_accuracy``: why they are null,
        or null where they are not, or nothing was asked.
    """
    none: dict[str, Any] = {"accuracy": None, "to_target": None, "under_budget": None}
    if laws is None:
        return {**none, "no_accuracy": None}
    try:
        return _told(table, settings, laws, federation, costs, schedule)
    except ScenarioError as error:
        return {**none, "no_accuracy": str(error).rstrip(".")}


def law_accuracy(
    framework: str,
    settings: Settings,
    laws: Laws | None,
    federation: FederationSpec,
    rounds: int,
) -> Prediction:
    """Accuracy after so many rounds in which nobody came late.

    Raises
    ------
    ScenarioError
        Where no law holds; the message is why.
    """
    if laws is None:
        raise ScenarioError("the file names no measured learning curves ([learning] curves)")
    use = scenario_use(framework, settings, federation, num_late=0)
    law, _ = _law(laws, use, may_differ=False)
    extrapolates = settings.learning.extrapolate
    return law.accuracy(float(rounds), extrapolates=extrapolates, **covariates(law, use))


def _told(
    table: Mapping[str, Any],
    settings: Settings,
    laws: Laws,
    federation: FederationSpec,
    costs: RunCosts,
    schedule: str | None,
) -> dict[str, Any]:
    if table["status"] == "infeasible":
        raise ScenarioError("what cannot run learns nothing")
    if costs.num_successful == 0:
        raise ScenarioError("every round failed, and a failed round teaches nothing")
    num_late = 0 if table["rounds"] is None else int(table["rounds"]["num_late"])
    use = scenario_use(str(table["framework"]), settings, federation, num_late, schedule)
    law, differing = _law(laws, use, may_differ=settings.learning.transfer)
    told = _Told(law, covariates(law, use), settings, costs, bool(differing))
    rounds = costs.num_successful
    label = {
        "transferred": bool(differing),
        "as_measured_on": str(law.conditions.get("model.name", "")),
        "measured_with": dict(law.conditions),
        "machine": laws.provenance.get("machine", ""),
        "unseen": None if law.unseen is None else asdict(law.unseen),
        "differs": differing,
    }
    configuration = law.configuration(told.place)
    entry = {
        "after_rounds": rounds,
        **told.accuracy(rounds),
        "is_at_chance": configuration is not None and configuration.is_at_chance,
        "last_measured": None
        if configuration is None
        else {"rounds": configuration.rounds, "accuracy": configuration.accuracy},
        "baseline": baseline(str(law.conditions.get("workload.dataset", ""))),
        **label,
    }
    target = settings.learning.target_accuracy
    return {
        "accuracy": entry,
        "to_target": None if target is None else {**told.to_target(target), **label},
        "under_budget": told.under_budget(),
        "no_accuracy": None,
    }


def _law(laws: Laws, use: Use, *, may_differ: bool) -> tuple[LearningLaw, list[str]]:
    """The law of just these conditions; of the nearest ones, where they may differ."""
    own = [law for law in laws.laws if law.framework == use.framework]
    if not own:
        known = ", ".join(sorted({law.framework for law in laws.laws}))
        raise ScenarioError(
            f"no learning curves of {use.framework} were measured; there are {known}"
        )
    differing = {id(law): differences(law, use) for law in own}
    fewest = min(len(found) for found in differing.values())
    nearest = [law for law in own if len(differing[id(law)]) == fewest]
    found = differing[id(nearest[0])]
    if use["schedule"] is not None and any(text.startswith("schedule:") for text in found):
        raise ScenarioError(
            f"no curves of {use.framework} were measured under this schedule ({use['schedule']}): "
            "what a round teaches, and what it costs, changes with it"
        )
    if found and not may_differ:
        named = "; ".join(found[:_MOST_NAMED])
        more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise ScenarioError(
            f"the curves of {use.framework} were measured under other conditions ({named}{more}); "
            "[learning] transfer = true shows them as measured there"
        )
    _check_one(nearest)
    # A measured setting is told by its own curves; the others' law says what it refuses, and why.
    exact = [law for law in nearest if not law.covariates and law.fixed == covariates(law, use)]
    law = exact[0] if exact else max(nearest, key=lambda law: len(law.covariates))
    return law, differing[id(law)]


def _check_one(nearest: Sequence[LearningLaw]) -> None:
    """Refuse to choose between starts that the scenario does not tell apart."""
    stated = {str(law.conditions.get("learning.weights", "")) for law in nearest}
    if len(stated) > 1:
        raise ScenarioError(
            f"curves were measured from weights of several kinds ({', '.join(sorted(stated))}); "
            "say which in [learning] weights"
        )
    if len({str(sorted(law.conditions.items())) for law in nearest}) > 1:
        raise ScenarioError(
            "curves of several conditions are as near; name a file with one of them in [learning] "
            "curves"
        )


class _Told:
    """One law, asked where one scenario stands.

    Parameters
    ----------
    law : LearningLaw
    place : dict of str to float
        Its covariates.
    settings : Settings
    costs : RunCosts
    is_transferred : bool
        Intervals are then left out: they are of other conditions.
    """

    def __init__(
        self,
        law: LearningLaw,
        place: dict[str, float],
        settings: Settings,
        costs: RunCosts,
        is_transferred: bool,
    ) -> None:
        self.place = place
        self._law = law
        self._settings = settings
        self._costs = costs
        self._is_transferred = is_transferred

    def accuracy(self, rounds: int) -> dict[str, Any]:
        """After so many rounds."""
        found = self._law.accuracy(float(rounds), extrapolates=self._extrapolates, **self.place)
        return self._entry(found)

    def to_target(self, target: float) -> dict[str, Any]:
        """Rounds to an accuracy, what they cost, and apart from them the set-up."""
        found = self._law.rounds_to(target, extrapolates=self._extrapolates, **self.place)
        entry, costs = self._entry(found), self._costs
        return {
            "target": target,
            "rounds": entry,
            "time_s": {n: _product(entry[n], costs.round_s[n]) for n in _ENDS},
            "payload_bytes": _scaled(entry, costs.round_bytes),
            "energy_j": _scaled(entry, costs.round_j),
            "money": _scaled(entry, costs.round_money),
            "includes_setup": False,
            "setup": dict(costs.setup),
        }

    def under_budget(self) -> dict[str, Any] | None:
        """Accuracy after as many rounds as the tightest of the budgets pays for."""
        costs, affordable = self._costs, {}
        each = dict(
            zip(
                BUDGETS,
                (costs.round_s["mean"], costs.round_bytes, costs.round_j, costs.round_money),
                strict=True,
            )
        )
        apart = {"includes_setup": False, "setup": dict(costs.setup)}
        for name in BUDGETS:
            budget, cost = getattr(self._settings.learning, name), each[name]
            if budget is not None and cost is None:
                unknown = dict.fromkeys(("rounds", *_ENDS))
                return {**unknown, "limited_by": name, **apart}
            if budget is not None and cost is not None and cost > 0:
                affordable[name] = int(budget / cost)
        if not affordable:
            return None
        tightest = min(affordable, key=lambda name: affordable[name])
        rounds = affordable[tightest]
        return {"rounds": rounds, "limited_by": tightest, **self.accuracy(rounds), **apart}

    @property
    def _extrapolates(self) -> bool:
        # A range over families of curves that are not the scenario's own would say nothing.
        return self._settings.learning.extrapolate and not self._is_transferred

    def _entry(self, found: Prediction) -> dict[str, Any]:
        is_own = not self._is_transferred
        return {
            "mean": found.mean,
            "low": found.low if is_own else None,
            "high": found.high if is_own else None,
            "basis": found.basis,
            "extrapolates": list(found.extrapolates),
        }


def _scaled(rounds: Mapping[str, Any], each: float | None) -> dict[str, float | None] | None:
    return None if each is None else {name: _product(rounds[name], each) for name in _ENDS}


def _product(rounds: float | None, each: float | None) -> float | None:
    return None if rounds is None or each is None else rounds * each
