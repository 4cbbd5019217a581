"""What is written of a round: one line of metrics, and the ledger's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, Final

from fedsim.agreement import check_agreement
from fedsim.cost.step_row import step_row
from fedsim.errors import AgreementError
from fedsim.ledger import SERVER, Ledger, LedgerRow, RowKey
from fedsim.protocol.operation import InferLogits, Loss, Part
from fedsim.protocol.step import Compute, Protocol, Site, loss_steps
from fedsim.runtime.federation import Federation
from fedsim.runtime.training import Evaluation, Evaluator, RoundOutcome

__all__ = [
    "EVALUATION",
    "PREDICTED",
    "Judgement",
    "LossSteps",
    "checked_ledger",
    "evaluation_rows",
    "ledger_records",
    "metrics_record",
    "prediction_record",
]

#: Counts of a round that the formulas are held against, and that are told side by side.
PREDICTED: Final = (
    *("uplink_payload_bytes", "downlink_payload_bytes"),
    *("uplink_message_bytes", "downlink_message_bytes", "client_flop", "server_flop"),
)
#: Step of the ledger under which an evaluation stands: no framework has one of this name.
EVALUATION: Final = "evaluation"


@dataclass(frozen=True)
class LossSteps:
    """Steps of a framework that have a loss."""

    training: frozenset[str]
    distillation: frozenset[str]

    @classmethod
    def of(cls, protocol: Protocol) -> LossSteps:
        """The steps of a protocol's round."""
        return cls(loss_steps(protocol, Loss.TRAINING), loss_steps(protocol, Loss.DISTILLATION))


@dataclass(frozen=True)
class Judgement:
    """What the test rows said after a round; None and empty where nobody asked."""

    global_model: Evaluation | None = None
    clients: Mapping[str, Evaluation] | None = None
    #: The global model computed in float32, where it is trained in less.
    reference: Evaluation | None = None


def checked_ledger(predicted: Ledger, outcome: RoundOutcome, *, counts_flop: bool) -> Ledger:
    """A round's ledger, with FLOP by formula where none were metered.

    Parameters
    ----------
    predicted : Ledger
        What the formulas say of the round.
    outcome : RoundOutcome
    counts_flop : bool
        Whether FLOP were metered.

    Raises
    ------
    AgreementError
        If the run and the formulas disagree in anything that was counted.
    """
    found = Ledger({key: replace(row) for key, row in outcome.ledger.rows.items()})
    if not counts_flop:
        for key, row in found.rows.items():
            expected = predicted.rows.get(key, LedgerRow())
            row.client_flop, row.server_flop = expected.client_flop, expected.server_flop
    check_agreement(predicted, found)
    return found


def evaluation_rows(
    federation: Federation, evaluator: Evaluator, judgement: Judgement, round_index: int
) -> Ledger:
    """What judging cost, by party, with FLOP by formula.

    Raises
    ------
    AgreementError
        If torch counted something else.
    """
    training = federation.training
    whole = Part.whole(training.model.num_layers)
    ledger = Ledger()
    found = dict(judgement.clients or {})
    if judgement.global_model is not None:
        found[SERVER] = judgement.global_model
    for party, evaluation in found.items():
        site = Site.SERVER if party == SERVER else Site.CLIENT
        row = LedgerRow(compute_s=evaluation.seconds)
        for shape in evaluator.shapes:
            step = Compute(EVALUATION, site, InferLogits(whole, shape))
            row.add(step_row(step, 1, training))
        expected = row.client_flop + row.server_flop
        if evaluator.counts_flop and evaluation.flop != expected:
            raise AgreementError(
                f"round {round_index}, {party}, {EVALUATION}: FLOP predicted {expected:,}, "
                f"measured {evaluation.flop:,}."
            )
        ledger.add(RowKey(round_index, party, EVALUATION), row)
    return ledger


def ledger_records(seed: int, *ledgers: Ledger) -> list[dict[str, Any]]:
    """Rows as they are written."""
    records = []
    for ledger in ledgers:
        for key, row in ledger.rows.items():
            names = {"seed": seed, "round": key.round_index, "party": key.party, "step": key.step}
            values = {name: value for name, value in asdict(row).items() if value}
            records.append({**names, **values})
    return records


def metrics_record(
    seed: int,
    round_index: int,
    outcome: RoundOutcome,
    ledger: Ledger,
    steps: LossSteps,
    judgement: Judgement,
    evaluation: Ledger,
    prediction: Mapping[str, Any],
    *,
    counts_flop: bool,
) -> dict[str, Any]:
    """A round's line of metrics. Everything but what ends in ``_s`` is the same in every rerun."""
    total, judged = ledger.total(), evaluation.total()
    losses = outcome.losses
    own = judgement.clients
    return {
        "seed": seed,
        "round": round_index,
        "train_loss": losses.mean(steps.training),
        "distillation_loss": losses.mean(steps.distillation),
        "client_train_loss": {
            client_id: losses.mean(steps.training, client_id)
            for client_id in outcome.own_parameters
            if losses.mean(steps.training, client_id) is not None
        },
        "global": _judged(judgement.global_model),
        "float32_loss": None if judgement.reference is None else judgement.reference.loss,
        "clients": None if own is None else {name: _judged(one) for name, one in own.items()},
        "mean_client_accuracy": None if not own else fmean(e.accuracy for e in own.values()),
        "uplink_payload_bytes": total.uplink_payload_bytes,
        "downlink_payload_bytes": total.downlink_payload_bytes,
        "uplink_message_bytes": total.uplink_message_bytes,
        "downlink_message_bytes": total.downlink_message_bytes,
        "client_flop": total.client_flop,
        "server_flop": total.server_flop,
        "flop_is_metered": counts_flop,
        "evaluation_flop": judged.client_flop + judged.server_flop,
        "evaluation_samples": judged.samples,
        "compute_s": total.compute_s,
        "transfer_s": total.transfer_s,
        "evaluation_s": judged.compute_s,
        "predicted": dict(prediction),
    }


def prediction_record(
    predicted: Ledger, seconds: tuple[float, float, float] | None
) -> dict[str, Any]:
    """What the formulas said of a round, as it is written; seconds with both ends of 95 %."""
    total = predicted.total()
    return {
        **{name: getattr(total, name) for name in PREDICTED},
        "compute_s": None if seconds is None else list(seconds),
    }


def _judged(evaluation: Evaluation | None) -> dict[str, float] | None:
    if evaluation is None:
        return None
    return {"loss": evaluation.loss, "accuracy": evaluation.accuracy}
