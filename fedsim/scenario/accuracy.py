"""``accuracy`` and ``to_target`` of a result: measured learning curves, put to a scenario's use.

Decides which law belongs to a result and what its conditions must share with the scenario. Another
data set has no accuracy here; other conditions that differ are listed beside the answer, never
silently accepted. Nothing is invented: without a law both entries are null, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from fedsim.errors import ScenarioError
from fedsim.learning.law import LearningLaw, Prediction
from fedsim.learning.store import Laws
from fedsim.scenario.settings import Settings

__all__ = ["BUDGETS", "accuracy_tables"]

#: Keys of ``[learning]`` that limit what a training may take.
BUDGETS: Final = ("budget_time", "budget_bytes", "budget_energy", "budget_money")

#: Conditions of a law that a scenario's settings know too, and where they stand.
_CONDITIONS: Final[Mapping[str, Callable[[Settings], object]]] = {
    "model": lambda s: s.model.name,
    "head": lambda s: s.model.head,
    "dropout": lambda s: s.model.dropout,
    "dataset": lambda s: s.workload.dataset,
    "batch_size": lambda s: s.workload.batch_size,
    "accumulation_steps": lambda s: s.workload.accumulation_steps,
    "local_epochs": lambda s: s.workload.local_epochs,
    "distillation_epochs": lambda s: s.workload.distillation_epochs,
    "optimizer": lambda s: s.workload.optimizer,
    "server_variant": lambda s: s.split.server_variant,
    "learning_rate": lambda s: s.learning.learning_rate,
    "optimizer_state": lambda s: s.learning.optimizer_state,
    "distillation_loss": lambda s: s.learning.distillation_loss,
    "distillation_temperature": lambda s: s.learning.distillation_temperature,
    "partition": lambda s: s.learning.partition,
    "alpha": lambda s: None if s.lora is None else s.lora.alpha,
    "lora_dropout": lambda s: None if s.lora is None else s.lora.dropout,
    "init_lora_weights": lambda s: None if s.lora is None else s.lora.init_lora_weights,
    "use_rslora": lambda s: None if s.lora is None else s.lora.use_rslora,
}


def accuracy_tables(
    table: Mapping[str, Any],
    settings: Settings,
    laws: Laws | None,
    num_asked: int,
    num_used: float,
) -> dict[str, Any]:
    """The three entries, and a note where there is none though one was asked for.

    Parameters
    ----------
    table : mapping
        The rest of the result.
    settings : Settings
    laws : Laws or None
        Those that ``[learning] curves`` names.
    num_asked : int
        Clients that a round is to hear from.
    num_used : float
        Clients whose work a round uses, on average; fewer where some fail or are late.

    Returns
    -------
    dict
        ``accuracy``, ``to_target`` and ``under_budget``, and ``absent``: why they are null, or
        empty.
    """
    none = {"accuracy": None, "to_target": None, "under_budget": None}
    if laws is None:
        return {**none, "absent": ""}
    framework = str(table["framework"])
    try:
        law = _law(laws, framework, settings, num_asked, num_used)
        covariates = _covariates(law, settings, num_asked, num_used)
        accuracy = law.accuracy(float(settings.workload.num_rounds), **covariates)
    except ScenarioError as error:
        return {**none, "absent": str(error)}
    label = {
        "measured_with": dict(law.conditions),
        "machine": laws.provenance.get("machine", ""),
        "unseen": None if law.unseen is None else asdict(law.unseen),
        "differs": _differences(law, settings),
    }
    entry = {"after_rounds": settings.workload.num_rounds, **_entry(accuracy), **label}
    target = settings.learning.target_accuracy
    to_target = None
    if target is not None:
        rounds = law.rounds_to(target, **covariates)
        to_target = {"target": target, **_costs(rounds, table), **label}
    under_budget = _under_budget(law, covariates, settings, table)
    return {
        "accuracy": entry,
        "to_target": to_target,
        "under_budget": under_budget,
        "absent": "",
    }


def _under_budget(
    law: LearningLaw, covariates: dict[str, float], settings: Settings, table: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Accuracy after as many rounds as the tightest of the budgets pays for."""
    each = _cost_of_a_round(table)
    affordable = {}
    for name in BUDGETS:
        budget, cost = getattr(settings.learning, name), each[name]
        if budget is not None and cost is None:
            return {"rounds": None, "limited_by": name, "mean": None, "low": None, "high": None}
        if budget is not None and cost is not None and cost > 0:
            affordable[name] = int(budget / cost)
    if not affordable:
        return None
    tightest = min(affordable, key=lambda name: affordable[name])
    rounds = affordable[tightest]
    return {
        "rounds": rounds,
        "limited_by": tightest,
        **_entry(law.accuracy(float(rounds), **covariates)),
    }


def _cost_of_a_round(table: Mapping[str, Any]) -> dict[str, float | None]:
    num_rounds, totals = table["num_rounds"], table["totals"]
    num_bytes = totals["uplink_payload_bytes"] + totals["downlink_payload_bytes"]
    energy, money = table["energy"]["total_j"], table["money"]
    return {
        "budget_time": table["round_time_s"]["mean"],
        "budget_bytes": num_bytes / num_rounds,
        "budget_energy": None if energy is None else energy / num_rounds,
        "budget_money": None if money is None else money["total"] / num_rounds,
    }


def _law(
    laws: Laws, framework: str, settings: Settings, num_asked: int, num_used: float
) -> LearningLaw:
    """The law of the nearest conditions; among those, the measured configuration's own."""
    own = [law for law in laws.laws if law.framework == framework]
    if not own:
        known = ", ".join(sorted({law.framework for law in laws.laws}))
        raise ScenarioError(f"no learning curves of {framework} were measured; there are {known}")
    dataset = settings.workload.dataset
    fitting = [law for law in own if law.conditions.get("dataset", dataset) == dataset]
    if not fitting:
        found = ", ".join(sorted({str(law.conditions.get("dataset")) for law in own}))
        raise ScenarioError(
            f"learning curves of {framework} were measured on {found}, not on "
            f"'{dataset}': [workload] dataset says which data it is"
        )
    fewest = min(len(_differences(law, settings)) for law in fitting)
    nearest = [law for law in fitting if len(_differences(law, settings)) == fewest]
    values = _values(settings, num_asked, num_used)
    knowing = [
        law for law in nearest if all(values[name] == fixed for name, fixed in law.fixed.items())
    ]
    # Those that interpolate in less know more of it; the others' errors say what is missing.
    if knowing:
        return min(knowing, key=lambda law: len(law.covariates))
    return max(nearest, key=lambda law: len(law.covariates))


def _values(settings: Settings, num_asked: int, num_used: float) -> dict[str, float | None]:
    return {
        "r": None if settings.lora is None else float(settings.lora.r),
        "samples_per_client": float(settings.workload.samples_per_client),
        "public_samples": None
        if settings.workload.public_samples is None
        else float(settings.workload.public_samples),
        "num_clients": float(num_asked),
        "participation": num_used / num_asked or None,
        "staleness": None,
    }


def _covariates(
    law: LearningLaw, settings: Settings, num_asked: int, num_used: float
) -> dict[str, float]:
    values, found = _values(settings, num_asked, num_used), {}
    for name in (*law.covariates, *law.fixed):
        value = values[name]
        if value is None:
            raise ScenarioError(f"learning curves of {law.framework} need {name}, which is not set")
        found[name] = value
    return found


def _differences(law: LearningLaw, settings: Settings) -> list[str]:
    """Conditions under which the curves were measured and that the scenario does not share."""
    found = []
    for name, measured in law.conditions.items():
        own = _CONDITIONS.get(name)
        if own is not None and own(settings) != measured:
            found.append(f"{name}: measured {measured}, here {own(settings)}")
    return found


def _entry(prediction: Prediction) -> dict[str, Any]:
    return {
        "mean": prediction.mean,
        "low": prediction.low,
        "high": prediction.high,
        "extrapolates": list(prediction.extrapolates),
    }


def _costs(rounds: Prediction, table: Mapping[str, Any]) -> dict[str, Any]:
    """What those rounds cost: the rates of the result's own rounds, both intervals together."""
    time, each = table["round_time_s"], _cost_of_a_round(table)
    num_bytes, energy, money = (each[name] for name in BUDGETS[1:])
    assert num_bytes is not None
    return {
        "rounds": _entry(rounds),
        "time_s": {
            name: _product(getattr(rounds, name), time[name]) for name in ("mean", "low", "high")
        },
        "payload_bytes": _scaled(rounds, num_bytes),
        "energy_j": None if energy is None else _scaled(rounds, energy),
        "money": None if money is None else _scaled(rounds, money),
    }


def _scaled(rounds: Prediction, each: float) -> dict[str, float | None]:
    return {name: _product(getattr(rounds, name), each) for name in ("mean", "low", "high")}


def _product(rounds: float | None, each: float) -> float | None:
    return None if rounds is None else rounds * each
