"""What a scenario may ask for and a real run cannot do; the rest of a file is checked as ever.

Each is refused by its key, with what to do. Ignored is only what changes no real run: devices,
links, prices, the engine, the goal, and how long anything takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fedsim.protocol import Framework
from fedsim.scenario.build.case import Case
from fedsim.scenario.file.mistake import Mistake, shown
from fedsim.scenario.file.settings import Settings
from fedsim.spec.dataset import UNLABELED

__all__ = ["run_mistakes"]

_FED_ADAM: Final = ("server_learning_rate", "beta1", "beta2", "tau")
_OPTIMIZER_OF: Final = {"mu": "fedprox", **dict.fromkeys(_FED_ADAM, "fedadam")}
#: A step of it still is a 32-bit number. What diverges below it is told apart by diverging.
_MAX_RATE: Final = 1e30
#: Each is a model in memory.
_MAX_CLIENTS: Final = 10_000
#: Keys of ``[policy]`` that decide who takes part, with what a run does instead.
_POLICY: Final = {
    "mode": 'a run has rounds; write mode = "synchronous".',
    "over_selection": "a run asks clients_per_round and no more; leave it out.",
    "selection": 'a run asks at random; write selection = "random".',
    "quorum": "a run waits for all who do not drop out; leave it out.",
    "deadline": "nobody comes late in a run, where clients take turns; leave it out.",
    "min_available": "all clients are there in a run; leave it out.",
    "retries": "a client that drops out of a run's round stays out; leave it out.",
    "exclude_unfit": "a run leaves out no class; leave it out, and those clients too.",
}


def run_mistakes(settings: Settings, variant: Case) -> Iterator[Mistake]:
    """What keeps a case from being run."""
    framework = variant.framework
    yield from _data(settings)
    yield from _who_takes_part(settings)
    yield from _ranks(settings, framework)
    yield from _work(settings)
    yield from _learning(settings)
    yield from _weights(settings)
    yield from _server_optimizer(settings, framework)
    yield from _cohort(settings, framework)
    train = settings.train
    if train.count_flop and train.attention == "sdpa":
        text = 'torch does not count fused kernels; write attention = "eager".'
        yield Mistake("[train] count_flop", "true", text)
    if train.tf32 and train.device == "cpu":
        text = 'TF32 is a format of CUDA devices; leave it out, or write device = "cuda".'
        yield Mistake("[train] tf32", "true", text)
    if train.seeds is not None and len(set(train.seeds)) < len(train.seeds):
        yield Mistake("[train] seeds", shown(list(train.seeds)), "one is there twice.")


def _data(settings: Settings) -> Iterator[Mistake]:
    data = settings.data
    if data is None:
        text = 'is missing; a run reads texts: add the table with dataset = "generated", say.'
        yield Mistake("[data]", "", text)
        return
    if settings.model.head == "classification" and data.dataset.name in UNLABELED:
        text = 'has no labels; write model.head = "language_model", or another data set.'
        yield Mistake("[data] dataset", repr(data.dataset.name), text)
    if data.public_dataset is not None and settings.workload.public_samples is None:
        text = "is missing; say how many texts of [data] public_dataset are public."
        yield Mistake("[workload] public_samples", "", text)


def _who_takes_part(settings: Settings) -> Iterator[Mistake]:
    fleet, policy = settings.fleet, settings.policy
    for name, reason in _POLICY.items():
        value = getattr(policy, name)
        if value != type(policy).model_fields[name].default:
            yield Mistake(f"[policy] {name}", shown(value), reason)
    privacy = settings.privacy
    for name in ("secure_aggregation", "differential_privacy"):
        if getattr(privacy, name) is not None:
            text = "a run hides nothing yet: leave it out; 'fedsim scenario' counts what it costs."
            yield Mistake(f"[privacy] {name}", repr(getattr(privacy, name)), text)
    tables = [("[fleet]", fleet), *((f"[[fleet.class]] '{t.name}'", t) for t in fleet.classes)]
    for where, table in tables:
        availability = getattr(table, "availability", None)
        if availability is not None and availability.kind != "always":
            text = 'all clients are there in a run; write kind = "always", or leave it out.'
            yield Mistake(f"{where} availability.kind", repr(availability.kind), text)
    for table in fleet.classes:
        own = table.dropout_probability
        if own is not None and own != fleet.dropout_probability:
            text = "a run has one probability for all clients; give it in [fleet]."
            yield Mistake(f"[[fleet.class]] '{table.name}' dropout_probability", f"{own:g}", text)
    if fleet.dropout_probability == 1:
        text = "nobody would ever train; allowed for a run: below 1."
        yield Mistake("[fleet] dropout_probability", "1", text)
    counts = [table.num_clients or 0 for table in fleet.classes]
    num = fleet.num_clients or sum(counts)
    if num > _MAX_CLIENTS:
        text = f"each client of a run is a model in memory; allowed: at most {_MAX_CLIENTS:,}."
        yield Mistake("[fleet] num_clients", f"{num:,}", text)


def _ranks(settings: Settings, framework: Framework) -> Iterator[Mistake]:
    """Adapters of unequal ranks have no plain average, and one model judges them all."""
    lora, train = settings.lora, settings.train
    for table in settings.fleet.classes:
        if lora is None or table.r is None or table.r == lora.r:
            continue
        where = f"[[fleet.class]] '{table.name}' r"
        if framework.averages_parameters:
            text = (
                f"an average of parameters needs one rank, and [lora] has {lora.r}; leave it out, "
                "or choose a case whose framework averages none."
            )
            yield Mistake(where, str(table.r), text)
        elif "clients" in train.evaluate:
            text = 'clients of unequal ranks are not judged; write train.evaluate = ["global"].'
            yield Mistake(where, str(table.r), text)


def _work(settings: Settings) -> Iterator[Mistake]:
    if settings.split.server_order != "turns":
        text = 'a real run lets clients take turns; write server_order = "turns".'
        yield Mistake("[split] server_order", repr(settings.split.server_order), text)


def _learning(settings: Settings) -> Iterator[Mistake]:
    learning, data = settings.learning, settings.data
    if not learning.learning_rate <= _MAX_RATE:
        text = f"nothing learns by it; allowed: above 0, at most {_MAX_RATE:g}."
        yield Mistake("[learning] learning_rate", f"{learning.learning_rate:g}", text)
    if learning.partition == "iid":
        if learning.dirichlet_alpha is not None:
            text = 'has no effect with partition = "iid"; write "dirichlet", or leave it out.'
            yield Mistake("[learning] dirichlet_alpha", f"{learning.dirichlet_alpha:g}", text)
    elif data is not None and (
        data.dataset.name in UNLABELED
        or (data.dataset.path is not None and data.dataset.label_column is None)
    ):
        named = data.dataset.name or data.dataset.path
        text = f"'{named}' has no labels to prefer; write partition = \"iid\"."
        yield Mistake("[learning] partition", repr(learning.partition), text)


def _weights(settings: Settings) -> Iterator[Mistake]:
    train, weights = settings.train, settings.learning.weights
    if weights is None:
        text = 'is missing; say what training starts from: "random", "pretrained" or "warm".'
        yield Mistake("[learning] weights", "", text)
    if weights == "random" and train.weights_from is not None:
        text = 'random weights come from nowhere; write learning.weights = "warm" or "pretrained".'
        yield Mistake("[train] weights_from", repr(train.weights_from), text)
    if weights == "warm" and train.weights_from is None:
        text = "is missing; name the folder with config.json and model.safetensors."
        yield Mistake("[train] weights_from", "", text)
    data = settings.data
    if weights == "random" and data is not None and data.tokenizer == "pretrained":
        text = 'random weights have no tokenizer; write tokenizer = "word" or "gpt2".'
        yield Mistake("[data] tokenizer", "'pretrained'", text)


def _server_optimizer(settings: Settings, framework: Framework) -> Iterator[Mistake]:
    train = settings.train
    for name, owner in _OPTIMIZER_OF.items():
        value = getattr(train, name)
        if value is not None and train.server_optimizer != owner:
            text = f'is of {owner} alone; write server_optimizer = "{owner}", or leave it out.'
            yield Mistake(f"[train] {name}", f"{value:g}", text)
    if train.server_optimizer == "fedprox" and train.mu is None:
        yield Mistake("[train] mu", "", "is missing; fedprox needs its strength: mu = 0.01, say.")
    if train.server_optimizer == "fedadam" and train.server_learning_rate is None:
        text = "is missing; fedadam needs the server's step: server_learning_rate = 0.01, say."
        yield Mistake("[train] server_learning_rate", "", text)
    if not framework.averages_parameters and train.server_optimizer != "fedavg":
        text = (
            f"{framework.title} averages no parameters; leave it out, or choose a case of "
            "another framework."
        )
        yield Mistake("[train] server_optimizer", repr(train.server_optimizer), text)


def _cohort(settings: Settings, framework: Framework) -> Iterator[Mistake]:
    """What a pass for many clients cannot do."""
    if settings.train.mode != "cohort":
        return
    model, lora = settings.model, settings.lora
    wrong = (
        (model.tuning != "lora", "[model] tuning", repr(model.tuning), 'write tuning = "lora"'),
        (model.dropout > 0, "[model] dropout", f"{model.dropout:g}", "write dropout = 0.0"),
        (
            model.gradient_checkpointing,
            "[model] gradient_checkpointing",
            "true",
            "leave it out",
        ),
        (
            lora is not None and lora.bias != "none",
            "[lora] bias",
            "" if lora is None else repr(lora.bias),
            'write bias = "none"',
        ),
        (
            settings.workload.padding != "none",
            "[workload] padding",
            repr(settings.workload.padding),
            'a pass holds real tokens alone, which is the same function; write padding = "none"',
        ),
        (
            framework.may_read("split") and settings.split.server_variant == "v2",
            "[split] server_variant",
            "'v2'",
            'clients take turns at one server-side model; write server_variant = "v1"',
        ),
        (settings.train.count_flop, "[train] count_flop", "true", "leave it out"),
    )
    for is_wrong, where, found, cure in wrong:
        if is_wrong:
            text = f'mode = "cohort" cannot do this: {cure}, or mode = "sequential".'
            yield Mistake(where, found, text)
    for name in ("weights_dtype", "compute_dtype"):
        if getattr(model, name) != "float32":
            text = 'mode = "cohort" computes in float32: leave it out, or mode = "sequential".'
            yield Mistake(f"[model] {name}", repr(getattr(model, name)), text)
