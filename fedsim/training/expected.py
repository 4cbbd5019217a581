"""What a run will take, said before it starts: samples, FLOP, about how long, and memory.

FLOP are those of the formulas for texts as long as a sample of the data; seconds are the time
model's by the shipped profile, times how much slower this machine is now, and rough.
"""

from __future__ import annotations

from collections import Counter
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
from fedsim.protocol.step import Compute, Each, Gather, Once, Segment, leaf_steps
from fedsim.runtime.free_memory import FreeMemory
from fedsim.spec.batch import BatchShape, TextLengths
from fedsim.spec.device import DeviceSpec
from fedsim.spec.plan import ClientPlan, TrainingSpec
from fedsim.training.data import client_sizes
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
    sample = setup.text_sample(setup.document.seeds[0])
    factor = _counted_factor(setup)
    groups = _groups(setup, sample, factor)
    flop, seconds = _round(setup, groups, speed, factor)
    share = _judged_share(setup)
    test_flop, test_s = _evaluation(groups[0][0], sample, speed)
    workload, num_clients = setup.document.settings.workload, _num_clients(setup)
    asked = _asked_share(setup)
    visits = asked * sum(client_sizes(setup.document.federation).values()) * workload.local_epochs
    if setup.reads_public:
        students = asked * num_clients + 1
        visits += (workload.public_samples or 0) * workload.distillation_epochs * students
    return Expected(
        num_samples=round(rounds_left * visits),
        num_flop=round(rounds_left * (asked * flop + share * test_flop)),
        seconds=rounds_left * (asked * seconds + share * test_s),
        memory=_memory(setup, sample),
    )


def expected_memory(setup: TrainingSetup) -> MemoryNeed:
    """What a run will need, without asking how fast the machine is.

    Raises
    ------
    ScenarioError
        If data or sizes do not fit.
    """
    return _memory(setup, setup.text_sample(setup.document.seeds[0]))


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
    largest = max(client_sizes(setup.document.federation).values())
    public = setup.document.settings.workload.public_samples or 0
    return max(1.0, largest / _MAX_COUNTED, public / _MAX_COUNTED)


def _num_clients(setup: TrainingSetup) -> int:
    return setup.document.federation.num_clients


def _asked_share(setup: TrainingSetup) -> float:
    """Share of the clients that a round asks."""
    asked = setup.document.settings.policy.clients_per_round
    return 1.0 if asked is None else min(1.0, asked / _num_clients(setup))


def _memory(setup: TrainingSetup, sample: TextSample) -> MemoryNeed:
    """What is needed if all clients were as the one that needs most."""
    settings = setup.document.settings
    private = sum(client_sizes(setup.document.federation).values())
    num_rows = private + (settings.workload.public_samples or 0) + sample.num_test

    def need(plan: ClientPlan) -> MemoryNeed:
        text = plan.train_epochs[0]
        texts = TextLengths(text.num_samples, text.max_tokens)
        whole = replace(plan, train_epochs=(texts,) * len(plan.train_epochs))
        return memory_need(whole, _num_clients(setup), num_rows, settings.train.mode)

    needs = (need(plan) for plan in dict.fromkeys(setup.plans().values()))
    return max(needs, key=lambda each: each.peak_bytes)


def _device(profile: Profile, setup: TrainingSetup) -> DeviceSpec:
    dtype = setup.document.settings.model.compute_dtype
    return profile.device_for(dtype) if dtype in profile.file.fit else profile.device


def _groups(
    setup: TrainingSetup, sample: TextSample, factor: float
) -> list[tuple[ClientPlan, int]]:
    """Plans with texts as long as the sample's, and how many clients have each."""

    def texts(text: TextLengths) -> TextLengths:
        counted = max(1, round(text.num_samples / factor))
        lengths = tuple(int(n) for n in np.resize(sample.lengths, counted))
        return TextLengths(counted, text.max_tokens, text.padding, lengths)

    def counted(plan: ClientPlan) -> ClientPlan:
        public = plan.public_text
        return replace(
            plan,
            train_epochs=tuple(texts(text) for text in plan.train_epochs),
            public_text=None if public is None else texts(public),
        )

    return [(counted(plan), num) for plan, num in Counter(setup.plans().values()).items()]


def _round(
    setup: TrainingSetup, groups: list[tuple[ClientPlan, int]], speed: Speed, factor: float
) -> tuple[float, float]:
    """FLOP and seconds of one round, all parties one after the other."""
    flop = seconds = 0.0
    known: dict[tuple[Operation, TrainingSpec], tuple[int, float]] = {}
    for number, (plan, num_clients) in enumerate(groups):
        segments = setup.document.framework(plan).round
        for times, operation in _operations(segments, num_clients, is_first=number == 0):
            key = operation, plan.training
            if key not in known:
                known[key] = (
                    operation_flop(*key),
                    operation_seconds(*key, speed.device, _num_clients(setup)),
                )
            flop += times * known[key][0]
            seconds += times * known[key][1]
    return factor * flop, factor * speed.slowness * seconds


def _operations(
    segments: tuple[Segment, ...], num_clients: int, *, is_first: bool
) -> Iterator[tuple[int, Operation]]:
    for segment in segments:
        if isinstance(segment, Gather) or (isinstance(segment, Once) and not is_first):
            continue
        parties = num_clients if isinstance(segment, Each) else 1
        for times, step in leaf_steps(segment.steps):
            if isinstance(step, Compute):
                yield parties * times, step.operation


def _judged_share(setup: TrainingSetup) -> float:
    """Models that are judged, a round."""
    train = setup.document.train
    models = ("global" in train.evaluate) + (
        _num_clients(setup) if "clients" in train.evaluate else 0
    )
    return models / train.evaluate_every


def _evaluation(plan: ClientPlan, sample: TextSample, speed: Speed) -> tuple[float, float]:
    """FLOP and seconds of judging one model on all test rows."""
    lengths = np.resize(sample.lengths, min(sample.num_test, _MAX_COUNTED)).tolist()
    whole = Part.whole(plan.training.model.num_layers)
    flop = seconds = 0.0
    for start in range(0, len(lengths), _EVALUATED_AT_ONCE):
        batch = BatchShape.unpadded(sorted(lengths)[start : start + _EVALUATED_AT_ONCE])
        operation = InferLogits(whole, batch)
        flop += operation_flop(operation, plan.training)
        seconds += operation_seconds(operation, plan.training, speed.device, 1)
    factor = sample.num_test / max(1, len(lengths))
    return factor * flop, factor * speed.slowness * seconds
