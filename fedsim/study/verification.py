"""A case of a scenario, verified: its own federation run for real and held against the formulas.

One builder with training: what is verified is what ``fedsim train`` would run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from fedsim.agreement import Verification
from fedsim.calibration.profile import Profile
from fedsim.errors import ScenarioError
from fedsim.runtime.federation import Federation
from fedsim.scenario.file.mistake import Mistake
from fedsim.spec.plan import ClientPlan
from fedsim.study.verification_profile import sentinel_ratios
from fedsim.study.verify import verify
from fedsim.training.file import TrainingDocument
from fedsim.training.setup import TrainingSetup

__all__ = ["check_countable", "title", "verified"]


def check_countable(document: TrainingDocument) -> None:
    """Refuse a case whose products torch's counter does not see.

    Raises
    ------
    ScenarioError
    """
    if document.train.attention == "sdpa":
        text = 'torch does not count fused kernels; write attention = "eager".'
        raise ScenarioError(Mistake("[train] attention", "'sdpa'", text).line(document.name))


def verified(
    document: TrainingDocument,
    data_dir: Path | None,
    *,
    num_rounds: int,
    timed_rounds: int,
    profile: Profile | None,
    on_step: Callable[[int, str, str], None] | None = None,
) -> Verification:
    """Run real rounds of a case and compare every step with the formulas.

    Parameters
    ----------
    document : TrainingDocument
    data_dir : Path or None
        Folder of data sets.
    num_rounds, timed_rounds : int
        Rounds that are counted, and rounds that are timed.
    profile : Profile or None
        What predicts seconds.
    on_step : callable, optional
        For progress.

    Raises
    ------
    ScenarioError
        If data, weights or sizes do not fit.
    """
    setup = TrainingSetup(document, data_dir)
    seed = document.seeds[0]

    def build() -> Federation:
        return setup.federation(seed)[0]

    ratios = {} if profile is None else sentinel_ratios(profile, setup.device.type)
    found = verify(
        build,
        document.framework.name,
        num_rounds=num_rounds,
        timed_rounds=timed_rounds,
        device=None if profile is None else profile.device,
        sentinel_ratios=ratios,
        on_step=on_step,
    )
    return replace(found, case=document.case.case.case_name)


def title(document: TrainingDocument) -> str:
    """What is run, in words."""
    return ", ".join(_words(document))


def _words(document: TrainingDocument) -> Iterator[str]:
    settings = document.settings
    model, workload = document.federation.server_plan.training.model, settings.workload
    yield f"{document.name}: {model.name} ({model.num_layers} blocks x {model.hidden_size})"
    yield f"{settings.learning.weights} weights"
    yield f"{settings.model.head} head"
    yield f"{workload.dataset} texts"
    yield "; ".join(_clients(document))
    yield f"{settings.learning.partition}"
    yield f"{workload.max_tokens} tokens"
    yield f"padding {workload.padding}"
    if settings.split.cut_layer is not None:
        half = " and a half" if settings.split.half_block else ""
        yield f"cut after {settings.split.cut_layer}{half} blocks"
        yield f"server {settings.split.server_variant}"
    yield f"on {settings.train.device}"


def _clients(document: TrainingDocument) -> Iterator[str]:
    for each in document.federation.classes:
        plan = each.plan
        name = "clients" if each.name == "clients" else f"'{each.name}'"
        yield (
            f"{each.num_clients} {name} x {plan.train_epochs[0].num_samples} samples "
            f"(batch {plan.batch_size}{_rank(plan)})"
        )


def _rank(plan: ClientPlan) -> str:
    lora = plan.training.lora
    return "" if lora is None else f", r = {lora.r}"
