"""What a run will take, said before it starts: samples, FLOP, about how long, and memory.

FLOP are those of the formulas for texts as long as a sample of the data; seconds are the time
model's by the shipped profile, times how much slower this machine is now, and rough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from fedsim.calibration.check import judge_sentinels
from fedsim.calibration.profile import Profile, find_profile, load_profile
from fedsim.calibration.sentinel import SENTINEL_FLOP, sentinel_seconds
from fedsim.cost.duration import operation_seconds
from fedsim.cost.flop import operation_flop
from fedsim.errors import ScenarioError
from fedsim.protocol.operation import InferLogits, Operation, Part
from fedsim.protocol.step import Compute, Each, Gather, leaf_steps
from fedsim.runtime.free_memory import FreeMemory
from fedsim.spec.batch import BatchShape, TextLengths
from fedsim.spec.device import DeviceSpec
from fedsim.spec.plan import ClientPlan
from fedsim.training.memory_need import MemoryNeed, memory_need
from fedsim.training.setup import TextSample, TrainingSetup
from fedsim.units import format_bytes

__all__ = ["Expected", "Speed", "check_memory", "expected_memory", "expected_run", "speed_now"]

_PROFILE: Final = "cpu-2-threads"
#: Larger rounds are counted for so many samples and multiplied.
_MAX_COUNTED: Final = 4096
_EVALUATED_AT_ONCE: Final = 64
#: Share of its fastest product that training achieves where no profile says it: an assumption.
_ACHIEVED: Final = 0.3


@dataclass(frozen=True)
class Speed:
    """How fast this machine is now.

    Attributes
    ----------
    device : DeviceSpec
    slowness : float
        What its times are multiplied by.
    source : str
    """

    device: DeviceSpec
    slowness: float
    source: str


@dataclass(frozen=True)
class Expected:
    """What is left of a run.

    Attributes
    ----------
    num_samples : int
        Private and public samples that are trained on, all clients, rounds and seeds together.
    num_flop : int
        Training and evaluation.
    seconds : float
    memory : MemoryNeed
    """

    num_samples: int
    num_flop: int
    seconds: float
    memory: MemoryNeed


def speed_now(setup: TrainingSetup) -> Speed:
    """Times the sentinels once, which is rough and takes a moment."""
    now = sentinel_seconds(setup.device)
    if setup.device.type == "cpu":
        profile = load_profile(find_profile(_PROFILE))
        ratios = sorted(one.now_s / one.then_s for one in judge_sentinels(profile.file, now))
        slowness = ratios[len(ratios) // 2]
        source = f"profile '{_PROFILE}' times {slowness:.2g}, by its sentinels now"
        return Speed(_device(profile, setup), slowness, source)
    rate = _ACHIEVED * SENTINEL_FLOP[setup.device.type] / now["product"]
    names = ("linear_flop", "attention_flop", "head_flop")
    device = DeviceSpec("this device", dict.fromkeys(names, 1 / rate), 1.0)
    return Speed(device, 1.0, f"{_ACHIEVED:.0%} of a matrix product's rate now")


def expected_run(setup: TrainingSetup, speed: Speed, rounds_left: int) -> Expected:
    """What so many rounds, of all seeds together, will take.

    Raises
    ------
    ScenarioError
        If data or sizes do not fit.
    """
    file = setup.document.file
    sample = setup.text_sample(file.train.seeds[0])
    num_clients, workload = file.data.num_clients, file.workload
    private, public = workload.samples_per_client, workload.public_samples or 0
    factor = _counted_factor(setup)
    plan = _plan(setup, sample, factor)
    flop, seconds = _round(setup, plan, speed, num_clients, factor)
    share = _judged_share(setup)
    test_flop, test_s = _evaluation(setup, plan, sample, speed)
    visits = num_clients * private * workload.local_epochs
    if setup.document.framework.may_read("workload.public_samples"):
        visits += public * workload.distillation_epochs * (num_clients + 1)
    return Expected(
        num_samples=rounds_left * visits,
        num_flop=round(rounds_left * (flop + share * test_flop)),
        seconds=rounds_left * (seconds + share * test_s),
        memory=_memory(setup, plan, sample),
    )


def expected_memory(setup: TrainingSetup) -> MemoryNeed:
    """What a run will need, without asking how fast the machine is.

    Raises
    ------
    ScenarioError
        If data or sizes do not fit.
    """
    sample = setup.text_sample(setup.document.file.train.seeds[0])
    return _memory(setup, _plan(setup, sample, _counted_factor(setup)), sample)


def check_memory(name: str, need: MemoryNeed, free: FreeMemory | None) -> None:
    """Raise ``ScenarioError`` where a run cannot have the memory that it needs."""
    if free is None or need.peak_bytes <= free.num_bytes:
        return
    categories = (
        ("of the base, held once", need.frozen),
        ("of trained parameters: the server, every client, the evaluator", need.trained),
        ("of optimizers and gradients", need.optimizer),
        ("of what clients send", need.messages),
        ("of activations and workspace", need.passes),
        ("of texts", need.data),
    )
    listed = "; ".join(f"{format_bytes(size)} {what}" for what, size in categories if size)
    raise ScenarioError(
        f"{name}: needs about {format_bytes(need.peak_bytes)} of memory beside what the process "
        f"has, and {format_bytes(free.num_bytes)} are left ({free.limit}). {listed}. Not counted: "
        "what the allocator and torch hold for themselves. Not started: choose a smaller model, "
        'fewer clients or a smaller batch, model.tuning = "lora", or another machine.'
    )


def _counted_factor(setup: TrainingSetup) -> float:
    """How many times a round is larger than the part of it that is counted."""
    workload = setup.document.file.workload
    return max(
        1.0,
        workload.samples_per_client / _MAX_COUNTED,
        (workload.public_samples or 0) / _MAX_COUNTED,
    )


def _memory(setup: TrainingSetup, plan: ClientPlan, sample: TextSample) -> MemoryNeed:
    file = setup.document.file
    workload, num_clients = file.workload, file.data.num_clients
    private, public = workload.samples_per_client, workload.public_samples or 0
    texts = TextLengths(private, workload.max_tokens)
    whole = replace(plan, train_epochs=(texts,) * workload.local_epochs)
    num_rows = num_clients * private + public + sample.num_test
    return memory_need(whole, num_clients, num_rows, file.train.mode)


def _device(profile: Profile, setup: TrainingSetup) -> DeviceSpec:
    dtype = setup.document.file.model.compute_dtype
    return profile.device_for(dtype) if dtype in profile.file.fit else profile.device


def _plan(setup: TrainingSetup, sample: TextSample, factor: float) -> ClientPlan:
    file = setup.document.file
    workload = file.workload

    def texts(number: int) -> TextLengths:
        counted = max(1, round(number / factor))
        lengths = tuple(int(n) for n in np.resize(sample.lengths, counted))
        return TextLengths(counted, workload.max_tokens, workload.padding, lengths)

    is_public = setup.document.framework.may_read("workload.public_samples") and (
        workload.public_samples is not None
    )
    training = setup.tried("[lora]", lambda: setup.training(sample.num_labels))
    return setup.tried(
        "[workload]",
        lambda: setup.plan(
            training,
            texts(workload.samples_per_client),
            texts(workload.public_samples or 1) if is_public else None,
        ),
    )


def _round(
    setup: TrainingSetup, plan: ClientPlan, speed: Speed, num_clients: int, factor: float
) -> tuple[float, float]:
    """FLOP and seconds of one round, all parties one after the other."""
    flop = seconds = 0.0
    known: dict[Operation, tuple[int, float]] = {}
    protocol = setup.document.framework(plan)
    for times, operation in _operations(protocol.round, num_clients):
        if operation not in known:
            known[operation] = (
                operation_flop(operation, plan.training),
                operation_seconds(operation, plan.training, speed.device, num_clients),
            )
        flop += times * known[operation][0]
        seconds += times * known[operation][1]
    return factor * flop, factor * speed.slowness * seconds


def _operations(segments: object, num_clients: int) -> Iterator[tuple[int, Operation]]:
    assert isinstance(segments, tuple)
    for segment in segments:
        if isinstance(segment, Gather):
            continue
        parties = num_clients if isinstance(segment, Each) else 1
        for times, step in leaf_steps(segment.steps):
            if isinstance(step, Compute):
                yield parties * times, step.operation


def _judged_share(setup: TrainingSetup) -> float:
    """Models that are judged, a round."""
    train = setup.document.file.train
    models = ("global" in train.evaluate) + (
        setup.document.file.data.num_clients if "clients" in train.evaluate else 0
    )
    return models / train.evaluate_every


def _evaluation(
    setup: TrainingSetup, plan: ClientPlan, sample: TextSample, speed: Speed
) -> tuple[float, float]:
    """FLOP and seconds of judging one model on all test rows."""
    lengths = np.resize(sample.lengths, min(sample.num_test, _MAX_COUNTED)).tolist()
    whole = Part.whole(setup.model.num_layers)
    flop = seconds = 0.0
    for start in range(0, len(lengths), _EVALUATED_AT_ONCE):
        batch = BatchShape.unpadded(sorted(lengths)[start : start + _EVALUATED_AT_ONCE])
        operation = InferLogits(whole, batch)
        flop += operation_flop(operation, plan.training)
        seconds += operation_seconds(operation, plan.training, speed.device, 1)
    factor = sample.num_test / max(1, len(lengths))
    return factor * flop, factor * speed.slowness * seconds
