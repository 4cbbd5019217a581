"""What each key may hold is checked where it is declared; here, what keys must say together.

Every check is one function that yields mistakes; none stops at the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from math import isclose

from fedsim.ledger import SERVER
from fedsim.protocol import Framework
from fedsim.scenario.build.privacy import privacy_mistakes
from fedsim.scenario.build.schedule import with_extremes
from fedsim.scenario.file.hardware_tables import ClassTable
from fedsim.scenario.file.mistake import Mistake
from fedsim.scenario.file.settings import Settings
from fedsim.scenario.file.work_tables import BUDGETS
from fedsim.units import format_seconds

__all__ = [
    "combination_mistakes",
    "is_buildable",
    "planned_batches",
    "scenario_size_mistake",
]

#: Unpadded batches are all different, so each is priced on its own.
_MAX_UNPADDED_SAMPLES = 200_000
_MAX_BATCHES = 2_000_000
_MAX_UNPADDED_SAMPLES_IN_ALL = 2_000_000
_MAX_BATCHES_IN_ALL = 10_000_000


def combination_mistakes(settings: Settings, framework: Framework) -> Iterator[Mistake]:
    """Mistakes that no key makes alone."""
    yield from _missing_needs(framework, settings)
    yield from _data(with_extremes(settings), framework)
    yield from _lengths(settings)
    yield from _size(settings)
    yield from _classes(settings)
    yield from _learning(settings)
    yield from _policy(settings)
    yield from privacy_mistakes(settings)


def is_buildable(settings: Settings) -> bool:
    """Whether texts' lengths are there where they are needed, and no plan is absurdly large."""
    return not [*_lengths(settings), *_size(settings)]


def _missing_needs(framework: Framework, settings: Settings) -> Iterator[Mistake]:
    """Keys that a framework cannot do without and that a file does not have."""
    for key, reason in framework.needs.items():
        table, _, name = key.partition(".")
        if getattr(getattr(settings, table, None), name, None) is None:
            yield Mistake(f"[{table}] {name}", "", f"is missing; {reason}")


def _data(settings: Settings, framework: Framework) -> Iterator[Mistake]:
    """Private samples of all clients, and the public set where one is used, are different rows."""
    workload, fleet = settings.workload, settings.fleet
    available = workload.available_samples
    if available is None:
        return
    if fleet.classes and all(table.num_clients is not None for table in fleet.classes):
        private = sum(
            _samples(table, settings) * (table.num_clients or 0) for table in fleet.classes
        )
    elif fleet.classes:
        shares = ((t.share or 0.0) * (fleet.num_clients or 0) for t in fleet.classes)
        private = int(
            sum(_samples(t, settings) * n for t, n in zip(fleet.classes, shares, strict=True))
        )
    else:
        private = workload.samples_per_client * (fleet.num_clients or 0)
    reads_public = framework.may_read("workload.public_samples")
    public = workload.public_samples or 0 if reads_public else 0
    if private + public <= available:
        return
    parts = f"{private:,} private samples" + (f" and {public:,} public ones" if public else "")
    name = "public_samples" if public else "samples_per_client"
    found = public or workload.samples_per_client
    text = (
        f"{parts} are more than available_samples = {available:,}; use fewer, or correct "
        "available_samples."
    )
    yield Mistake(f"[workload] {name}", str(found), text)


def _samples(table: ClassTable, settings: Settings) -> int:
    return table.samples_per_client or settings.workload.samples_per_client


def _lengths(settings: Settings) -> Iterator[Mistake]:
    workload = settings.workload
    if workload.padding != "max_tokens" and workload.lengths is None:
        text = (
            f"is missing; padding = '{workload.padding}' needs the texts' lengths: write "
            'lengths = "banking77", a list or a histogram, or padding = "max_tokens".'
        )
        yield Mistake("[workload] lengths", "", text)


def _size(settings: Settings) -> Iterator[Mistake]:
    """Refuse plans with so many batches that answering would take hours."""
    workload = settings.workload
    batches, unpadded = planned_batches(with_extremes(settings))
    if unpadded > _MAX_UNPADDED_SAMPLES:
        text = (
            f"{unpadded:,} samples a round over all classes, each of its own length; allowed with "
            f"padding = '{workload.padding}': {_MAX_UNPADDED_SAMPLES:,}. Use fewer samples or "
            'epochs, or padding = "max_tokens".'
        )
        yield Mistake("[workload] samples_per_client", str(workload.samples_per_client), text)
    elif batches > _MAX_BATCHES:
        text = f"{batches:,} batches a round over all classes; allowed: {_MAX_BATCHES:,}."
        yield Mistake("[workload] batch_size", str(workload.batch_size), text)


def planned_batches(settings: Settings) -> tuple[int, int]:
    """Batches of a round that are built one by one, and samples of their own length in them.

    One client of each class, and the public set once a class; equal epochs are built once.
    """
    workload = settings.workload
    is_padded = workload.padding == "max_tokens"
    tables: list[ClassTable | None] = [*settings.fleet.classes] or [None]
    batches = samples = 0
    for table in tables:
        private = workload.samples_per_client if table is None else _samples(table, settings)
        size = (table.batch_size if table is not None else None) or workload.batch_size
        own = table.local_epochs if table is not None else None
        epochs = 1 if is_padded else own or workload.local_epochs
        total = private * epochs + (workload.public_samples or 0)
        samples += total
        batches += -(-total // size)
    return batches, 0 if is_padded else samples


def scenario_size_mistake(all_settings: Iterable[Settings]) -> Mistake | None:
    """The mistake of results that are fine one by one and too many together."""
    batches = unpadded = 0
    for settings in all_settings:
        more_batches, more_unpadded = planned_batches(with_extremes(settings))
        batches, unpadded = batches + more_batches, unpadded + more_unpadded
    if batches <= _MAX_BATCHES_IN_ALL and unpadded <= _MAX_UNPADDED_SAMPLES_IN_ALL:
        return None
    text = (
        f"all results together have {batches:,} batches a round (allowed: {_MAX_BATCHES_IN_ALL:,})"
        f" with {unpadded:,} samples of their own length (allowed: "
        f"{_MAX_UNPADDED_SAMPLES_IN_ALL:,}); sweep fewer values, or use larger batches."
    )
    return Mistake("[[case]]", "", text)


def _classes(settings: Settings) -> Iterator[Mistake]:
    fleet = settings.fleet
    if not fleet.classes:
        return
    for name, times in Counter(table.name for table in fleet.classes).items():
        if times > 1:
            yield Mistake("[[fleet.class]] name", f"'{name}'", "used twice; names are unique.")
        if name == SERVER:
            yield Mistake("[[fleet.class]] name", f"'{name}'", "taken; choose another name.")
    has_share = [table.share is not None for table in fleet.classes]
    has_count = [table.num_clients is not None for table in fleet.classes]
    if any(has_share) == any(has_count) or not (all(has_share) or all(has_count)):
        text = (
            "every class needs a share, or every class needs num_clients; not both, not a mixture."
        )
        yield Mistake("[[fleet.class]]", "", text)
        return
    if all(has_share):
        total = sum(table.share or 0.0 for table in fleet.classes)
        if not isclose(total, 1.0, abs_tol=1e-6):
            yield Mistake("[[fleet.class]] share", f"{total:g} in all", "shares must add up to 1.")
        if fleet.num_clients is None:
            yield Mistake("[fleet] num_clients", "", "is missing; shares are of this number.")
    else:
        count = sum(table.num_clients or 0 for table in fleet.classes)
        if fleet.num_clients is not None and fleet.num_clients != count:
            text = f"the classes have {count:,} clients; correct one, or leave this key out."
            yield Mistake("[fleet] num_clients", str(fleet.num_clients), text)
    if settings.model.tuning == "full" and any(table.r is not None for table in fleet.classes):
        text = "a rank changes nothing under model.tuning = 'full'; leave it out."
        yield Mistake("[[fleet.class]] r", "", text)


def _learning(settings: Settings) -> Iterator[Mistake]:
    learning = settings.learning
    if learning.target_accuracy is not None and learning.curves is None:
        text = "nothing says how accuracy grows; name fitted learning curves in [learning] curves."
        yield Mistake("[learning] target_accuracy", "", text)
    for name in BUDGETS:
        value = getattr(learning, name)
        if value is not None and learning.curves is None:
            text = "nothing says how accuracy grows; name fitted curves in [learning] curves."
            yield Mistake(f"[learning] {name}", "", text)
        if value == 0:
            yield Mistake(f"[learning] {name}", "0", "buys nothing; allowed: above 0.")
    if learning.partition == "dirichlet" and learning.dirichlet_alpha is None:
        text = "is missing; a Dirichlet partition needs its concentration."
        yield Mistake("[learning] dirichlet_alpha", "", text)


def _policy(settings: Settings) -> Iterator[Mistake]:
    """Keys of the policy that could never matter, or that no fleet of this size can meet."""
    policy, split = settings.policy, settings.split
    if policy.over_selection and policy.clients_per_round is None:
        text = "more than everybody cannot be asked; write clients_per_round too, or leave it out."
        yield Mistake("[policy] over_selection", f"{policy.over_selection:g}", text)
    if policy.retry_after and not policy.retries:
        text = "nobody starts over without retries; write retries = 1, say, or leave it out."
        yield Mistake("[policy] retry_after", format_seconds(policy.retry_after), text)
    num_clients = _num_clients(settings)
    if policy.min_available is not None and policy.min_available > num_clients > 0:
        text = f"there are {num_clients:,} clients in all, so no round would ever start."
        yield Mistake("[policy] min_available", str(policy.min_available), text)
    if split.server_order != "turns" and split.server_variant != "v2":
        text = (
            f"server_variant = '{split.server_variant}' has a server-side model for each client "
            'and no order among them; set server_variant = "v2", or leave it out.'
        )
        yield Mistake("[split] server_order", repr(split.server_order), text)


def _num_clients(settings: Settings) -> int:
    fleet = settings.fleet
    if fleet.num_clients is not None:
        return fleet.num_clients
    return sum(table.num_clients or 0 for table in fleet.classes)
