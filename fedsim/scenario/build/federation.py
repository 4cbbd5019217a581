"""From settings to a federation in numbers, or to a list of what does not fit together.

Decides what each key means to the specs. It computes no cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fedsim.errors import ScenarioError
from fedsim.scenario.build.codec import codecs_of
from fedsim.scenario.build.hardware import device_spec, link_spec, overlaid
from fedsim.scenario.build.schedule import built_schedules
from fedsim.scenario.build.spread import (
    ClassFigures,
    client_samples,
    has_unequal_data,
    spread,
)
from fedsim.scenario.file.availability_table import availability
from fedsim.scenario.file.client_files import ClientFigures
from fedsim.scenario.file.context import Context
from fedsim.scenario.file.hardware_tables import ClassTable, DeviceTable, LinkTable
from fedsim.scenario.file.mistake import Mistake
from fedsim.scenario.file.settings import Settings
from fedsim.scenario.file.text_length import drawn_lengths
from fedsim.scenario.file.work_tables import LoraTable, ModelTable
from fedsim.spec.batch import TextLengths
from fedsim.spec.codec import UNNAMED, Codecs
from fedsim.spec.dtype import precision_name
from fedsim.spec.federation import ClientClass, FederationSpec, ServerSpec
from fedsim.spec.model import HeadSpec, ModelSpec
from fedsim.spec.plan import ClientPlan, Cut, Numerics, TrainingSpec
from fedsim.spec.policy import PolicySpec
from fedsim.spec.tuning import FullTuning, LoraTuning, Tuning

__all__ = ["built_federation", "built_policy"]

_T = TypeVar("_T")
#: More clients than this are never drawn one by one: no engine takes them.
_MAX_DRAWN_CLIENTS = 2_000_000
#: Over all numbers of samples that clients of a class have, each of which is a plan.
_MAX_BATCHES = 2_000_000
_MAX_UNPADDED_SAMPLES = 200_000
#: Parties of the draws. One order stands for every client, so that a class's name is only a name.
_PRIVATE = "clients"
_PUBLIC = "public"


@dataclass
class _Builder:
    settings: Settings
    context: Context
    mistakes: list[Mistake] = field(default_factory=list)

    def tried(self, where: str, build: Callable[[], _T], found: str = "") -> _T | None:
        """What ``build`` gives, or None with a mistake noted at ``where``."""
        try:
            return build()
        except ScenarioError as error:
            mistake = Mistake.of(error, where)
            self.mistakes.append(replace(mistake, found=found) if found else mistake)
            return None


def built_federation(
    settings: Settings, context: Context
) -> tuple[FederationSpec | None, list[Mistake]]:
    """The federation that the settings describe, or the mistakes that keep it from being built."""
    builder = _Builder(settings, context)
    model_name = settings.model.name
    model = builder.tried("[model] name", lambda: context.model(model_name), repr(model_name))
    precision = _precision(settings.model)
    server = builder.tried(
        "[server] device", lambda: device_spec(settings.server.device, precision, context.profile)
    )
    training = _training(builder, model, settings.lora) if model is not None else None
    plan = _plan(builder, training, None) if training is not None else None
    classes = [
        client_class
        for table, num_clients in _sized_classes(builder)
        if (client_class := _client_class(builder, model, table, num_clients)) is not None
    ]
    schedules = built_schedules(settings, context.folder)
    builder.mistakes += [*schedules.mistakes, *_unequal_data(settings, classes)]
    if builder.mistakes or server is None or plan is None:
        return None, builder.mistakes
    table = settings.server
    server_spec = builder.tried(
        "[server]",
        lambda: ServerSpec(
            server,
            table.num_accelerators,
            table.uplink,
            table.downlink,
            table.discipline,
            table.max_batch,
            settings.split.server_order,
        ),
    )
    if server_spec is None:
        return None, builder.mistakes
    federation = FederationSpec(
        classes=tuple(classes),
        server=server_spec,
        server_plan=plan,
        num_rounds=settings.workload.num_rounds,
        schedules=tuple(schedules.of_plans),
    )
    return federation, []


def _unequal_data(settings: Settings, classes: list[ClientClass]) -> list[Mistake]:
    """A number of samples by round where every client has a number of its own."""
    key = "workload.samples_per_client"
    numbers = [n for n, table in enumerate(settings.schedule, 1) if table.scheduled == key]
    if not numbers or all(c.client_samples is None for c in classes):
        return []
    text = "clients have numbers of samples of their own here; leave out one of the two."
    return [Mistake(f"[[schedule]] number {numbers[0]} key", repr(key), text)]


def built_policy(settings: Settings, context: Context) -> tuple[PolicySpec | None, list[Mistake]]:
    """The policy that the settings describe, or the mistake that keeps it from being built."""
    table = settings.policy
    times = ("deadline", "window", "retry_after", "failure_timeout")
    # Whom the server never asks is no part of the federation, so no policy knows of them.
    values = {f"{n}_s" if n in times else n: v for n, v in table if n != "exclude_unfit"}
    # What is wrong with schedules is told with the federation.
    schedules = tuple(built_schedules(settings, context.folder).of_policy)
    try:
        return PolicySpec(**values, schedules=schedules), []
    except ScenarioError as error:
        return None, [Mistake.of(error, "[policy]")]


def _training(builder: _Builder, model: ModelSpec, lora: LoraTable | None) -> TrainingSpec | None:
    table, optimizer = builder.settings.model, builder.settings.workload.optimizer
    if table.head == "classification" and table.num_classes is None:
        text = 'is missing; write num_classes = 77, say, or head = "language_model".'
        builder.mistakes.append(Mistake("[model] num_classes", "", text))
        return None
    if table.tuning == "lora" and lora is None:
        text = 'is missing; add the table with r and target_modules, or set model.tuning = "full".'
        builder.mistakes.append(Mistake("[lora]", "", text))
        return None
    numerics = builder.tried(
        "[model]",
        lambda: Numerics(
            table.weights_dtype,
            table.compute_dtype,
            table.payload_dtype,
            table.gradient_checkpointing,
        ),
    )
    training = builder.tried(
        "[lora]",
        lambda: TrainingSpec(
            model=model,
            head=HeadSpec(table.head, table.num_classes or 2),
            tuning=_tuning(lora) if table.tuning == "lora" and lora is not None else FullTuning(),
            numerics=numerics or Numerics(),
            model_dropout=table.dropout,
            optimizer=optimizer,
        ),
    )
    # The mistake is noted; full tuning fits every model and lets the plan's checks go on.
    return training or TrainingSpec(model, HeadSpec(), FullTuning())


def _precision(table: ModelTable) -> str:
    """What devices compute in; formats that do not go together are a mistake named elsewhere."""
    try:
        numerics = Numerics(table.weights_dtype, table.compute_dtype)
    except ScenarioError:
        # As the plans that are checked on with, or devices would be blamed for the mistake.
        numerics = Numerics()
    return precision_name(numerics.weights_dtype, numerics.compute_dtype)


def _tuning(table: LoraTable) -> Tuning:
    return LoraTuning(**table.model_dump(exclude={"shares_head"}))


def _plan(
    builder: _Builder, training: TrainingSpec, client: ClassTable | None
) -> ClientPlan | None:
    settings = builder.settings
    workload, split = settings.workload, settings.split
    layer = split.cut_layer if client is None or client.cut_layer is None else client.cut_layer
    batch_size = client.batch_size if client is not None else None
    codecs = _codecs(builder, client)
    return builder.tried(
        "[workload]",
        lambda: ClientPlan(
            training=training,
            train_epochs=_train_epochs(settings, client),
            public_text=_public_text(settings),
            batch_size=batch_size or workload.batch_size,
            accumulation_steps=workload.accumulation_steps,
            distillation_epochs=workload.distillation_epochs,
            cut=None if layer is None else Cut(layer, split.half_block),
            server_variant=split.server_variant,
            shares_head=settings.lora.shares_head if settings.lora is not None else True,
            codecs=codecs or UNNAMED,
        ),
    )


def _codecs(builder: _Builder, client: ClassTable | None) -> Codecs | None:
    """The codecs of a class of clients, or of all; None with a mistake noted."""
    table, where = builder.settings.codec, "[codec]"
    if client is not None and client.codec is not None:
        table, where = client.codec.over(table), f"[[fleet.class]] '{client.name}' codec"
    return builder.tried(where, lambda: codecs_of(table.named(), builder.context.folder))


def _train_epochs(
    settings: Settings, client: ClassTable | None, num_samples: int | None = None
) -> tuple[TextLengths, ...]:
    workload = settings.workload
    own = client.samples_per_client if client is not None else None
    samples = num_samples or own or workload.samples_per_client
    epochs = (client.local_epochs if client is not None else None) or workload.local_epochs
    if workload.padding == "max_tokens":
        return (_text(settings, samples, _PRIVATE, 0),) * epochs
    return tuple(_text(settings, samples, _PRIVATE, epoch) for epoch in range(epochs))


def _public_text(settings: Settings) -> TextLengths | None:
    samples = settings.workload.public_samples
    return None if samples is None else _text(settings, samples, _PUBLIC, 0)


def _text(settings: Settings, num_samples: int, party: str, epoch: int) -> TextLengths:
    workload = settings.workload
    lengths = None
    if workload.padding != "max_tokens" and workload.lengths is not None:
        lengths = drawn_lengths(workload.lengths, num_samples, settings.seed, party, epoch)
    return TextLengths(num_samples, workload.max_tokens, workload.padding, lengths)


def _sized_classes(builder: _Builder) -> list[tuple[ClassTable | None, int]]:
    """Classes by name with their numbers of clients; one nameless class where there are none."""
    fleet = builder.settings.fleet
    if not fleet.classes:
        if fleet.num_clients is None:
            text = "is missing; write num_clients = 3, say."
            builder.mistakes.append(Mistake("[fleet] num_clients", "", text))
            return []
        return [(None, fleet.num_clients)]
    # By name, so that the order of the file changes nothing.
    classes = sorted(fleet.classes, key=lambda table: table.name)
    sizes = _class_sizes(builder, classes)
    return list(zip(classes, sizes, strict=True))


def _class_sizes(builder: _Builder, classes: list[ClassTable]) -> list[int]:
    total = builder.settings.fleet.num_clients
    if all(table.num_clients is not None for table in classes):
        return [table.num_clients or 0 for table in classes]
    if total is None:
        return [1] * len(classes)
    exact = [(table.share or 0.0) * total for table in classes]
    sizes = [int(size) for size in exact]
    # Largest remainder; among equals the first name wins.
    order = sorted(range(len(classes)), key=lambda i: (sizes[i] - exact[i], classes[i].name))
    for i in order[: max(0, total - sum(sizes))]:
        sizes[i] += 1
    return sizes


def _client_class(
    builder: _Builder, model: ModelSpec | None, table: ClassTable | None, num_clients: int
) -> ClientClass | None:
    settings = builder.settings
    where = f"[[fleet.class]] '{table.name}' " if table is not None else ""
    device_table = overlaid(settings.device, table.device if table is not None else None)
    link_table = overlaid(settings.link, table.link if table is not None else None)
    precision = _precision(settings.model)
    profile = builder.context.profile
    device = builder.tried(
        # What all classes share is told once, where it stands.
        f"{where}device" if table is not None and table.device is not None else "[device]",
        lambda: device_spec(device_table, precision, profile),
    )
    link = builder.tried(
        f"{where}link" if table is not None and table.link is not None else "[link]",
        lambda: link_spec(link_table, builder.context),
    )
    if model is None:
        return None
    lora = settings.lora
    if lora is not None and table is not None and table.r is not None:
        lora = lora.model_copy(update={"r": table.r})
    training = _training(builder, model, lora)
    plan = _plan(builder, training, table) if training is not None else None
    if plan is None or device is None or link is None:
        return None
    name = table.name if table is not None else "clients"
    if num_clients < 1:
        text = "comes to no client at all; give it a larger share."
        builder.mistakes.append(Mistake(f"{where}share", "", text))
        return None
    return _with_figures(
        builder,
        ClientClass(name, num_clients, plan, device, link),
        table,
        device_table,
        link_table,
        training,
    )


def _with_figures(
    builder: _Builder,
    client_class: ClientClass,
    table: ClassTable | None,
    device_table: DeviceTable | None,
    link_table: LinkTable | None,
    training: TrainingSpec | None,
) -> ClientClass | None:
    """The class with how its clients differ, when they are there and what each has."""
    fleet = builder.settings.fleet
    where = f"[[fleet.class]] '{table.name}'" if table is not None else "[fleet]"
    own_table = table.table if table is not None and table.table is not None else fleet.table
    own_availability = table.availability if table is not None else None
    dropout = table.dropout_probability if table is not None else None
    context = builder.context

    def complete() -> ClientClass:
        file = None if own_table is None else context.client_figures(own_table)
        figures = ClassFigures(
            device_table,
            link_table,
            client_class.device,
            client_class.link,
            file,
            fleet.dropout_probability if dropout is None else dropout,
        )
        return replace(
            client_class,
            spread=spread(figures, client_class.plan),
            availability=availability(own_availability or fleet.availability, context.availability),
            **_sizes(builder, client_class, table, training, file),
        )

    return builder.tried(where, complete)


def _sizes(
    builder: _Builder,
    client_class: ClientClass,
    table: ClassTable | None,
    training: TrainingSpec | None,
    file: ClientFigures | None,
) -> dict[str, Any]:
    """Private samples of each client, and a plan for each number of them."""
    settings = builder.settings
    middle = client_class.plan.train_epochs[0].num_samples
    if not has_unequal_data(settings.workload, file) or training is None:
        return {}
    if client_class.num_clients > _MAX_DRAWN_CLIENTS:
        raise ScenarioError(
            f"{client_class.num_clients:,} clients with data of their own; allowed: "
            f"{_MAX_DRAWN_CLIENTS:,}."
        )
    sizes = client_samples(
        client_class.name, client_class.num_clients, middle, settings.workload, file, settings.seed
    )
    if sizes is None:
        return {}
    _check_plans(settings, client_class.plan, set(sizes))
    plans = {
        size: replace(client_class.plan, train_epochs=_train_epochs(settings, table, size))
        for size in sorted(set(sizes))
    }
    return {"client_samples": sizes, "plans": plans}


def _check_plans(settings: Settings, plan: ClientPlan, sizes: set[int]) -> None:
    """Refuse numbers of samples whose plans together would take minutes to build."""
    workload = settings.workload
    is_padded = workload.padding == "max_tokens"
    epochs = 1 if is_padded else len(plan.train_epochs)
    batches = epochs * sum(-(-size // plan.batch_size) for size in sizes)
    if batches > _MAX_BATCHES:
        raise ScenarioError(
            f"{batches:,} batches over all numbers of samples that clients have; allowed: "
            f"{_MAX_BATCHES:,}. Spread them less, or use larger batches."
        )
    samples = epochs * sum(sizes)
    if not is_padded and samples > _MAX_UNPADDED_SAMPLES:
        raise ScenarioError(
            f"{samples:,} samples over all numbers of samples that clients have, each of its own "
            f"length; allowed with padding = '{workload.padding}': {_MAX_UNPADDED_SAMPLES:,}. "
            'Spread them less, or set padding = "max_tokens".'
        )
