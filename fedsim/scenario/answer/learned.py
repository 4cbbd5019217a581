"""What a learning curve depends on, derived from what the keys declare.

No key is listed here. A curve was measured under *conditions*: the values of all keys that declare
``learning`` and are neither a covariate nor a question. What a curve's file does not state had its
key's default. A scenario shares them or it does not, and :func:`differences` says in which keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from pydantic import BaseModel

from fedsim.cost.duration import operation_regime
from fedsim.errors import ScenarioError
from fedsim.learning.law import LearningLaw
from fedsim.protocol import FRAMEWORKS
from fedsim.protocol.step import Compute, Gather, Site, leaf_steps
from fedsim.scenario.file.hardware_tables import ClassTable
from fedsim.scenario.file.key import Role, When
from fedsim.scenario.file.mistake import table_type
from fedsim.scenario.file.settings import Settings
from fedsim.scenario.file.text_length import LengthDistribution
from fedsim.scenario.file.training_tables import DatasetTable
from fedsim.spec.batch import TextLengths
from fedsim.spec.federation import FederationSpec
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import ClientPlan, Cut, TrainingSpec
from fedsim.spec.tuning import LoraTuning

__all__ = [
    "LearningKey",
    "Use",
    "conditions",
    "covariates",
    "differences",
    "learning_keys",
    "scenario_use",
]

Value = str | int | float | bool | None

#: Given lengths are written out up to so many, and told apart by a digest beyond.
_MOST_LENGTHS: Final = 12
_CLASSES: Final = ("fleet", "class")
#: Tables of a real run, which a scenario may leave out: it then means their defaults.
_OF_RUNS: Final = ("data", "train")
#: Of a list of tables, what the rounds are: one text, or None where all are planned alike.
_SCHEDULE: Final = "schedule"
#: Covariates whose name in a file of curves is not their key's: a share that comes, not that fails.
_PARTICIPATION: Final = "fleet.dropout_probability"


@dataclass(frozen=True)
class LearningKey:
    """A key that learning depends on.

    Attributes
    ----------
    path : str
        ``lora.alpha``.
    role : str
    when : str or None
        Under which setting it matters.
    default : object
        Of the file; an unstated key has it. None where the key is mandatory.
    is_mandatory : bool
    """

    path: str
    role: Role
    when: When | None
    default: Value
    is_mandatory: bool

    @property
    def covariate(self) -> str:
        """Its name among a curve's covariates."""
        return "participation" if self.path == _PARTICIPATION else self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Use:
    """Values of the keys under which a law is asked, or was measured.

    Attributes
    ----------
    framework : str
    values : mapping
        By path: one value, or several where classes of clients differ.
    num_late : int
        Contributions that came too late in a simulation.
    has_unequal_data : bool
        A table of clients gives them different numbers of samples.
    """

    framework: str
    values: Mapping[str, tuple[Value, ...]] = field(hash=False)
    num_late: int = 0
    has_unequal_data: bool = False

    def __getitem__(self, path: str) -> Any:
        found = self.values.get(path)
        return found[0] if found else None

    def feels(self, key: LearningKey) -> bool:
        """Whether learning depends on a key, given the others."""
        return key.when is None or _WHEN[key.when](self, key.path)

    def failing(self) -> Use:
        """The same with clients that fail."""
        return replace(self, values={**self.values, _PARTICIPATION: (0.5,)})


def _is_less(use: Use, path: str, other: str) -> bool:
    return use[path] is not None and use[other] is not None and use[path] < use[other]


def _awaits_fewer(use: Use) -> bool:
    asked = use["policy.clients_per_round"] or use["fleet.num_clients"]
    return use["policy.quorum"] is not None and asked is not None and use["policy.quorum"] < asked


def _reads(use: Use, key: str) -> bool:
    """Whether the framework reads a key that is some frameworks' own; a user's may read any."""
    framework = FRAMEWORKS.get(use.framework)
    return framework is None or framework.may_read(key)


def _is_cut(use: Use, *variants: str) -> bool:
    return _reads(use, "split.cut_layer") and use["split.server_variant"] in variants


@cache
def _trains_at_server(name: str) -> bool:
    """Whether the server passes texts through the model, and does not only average."""
    framework = FRAMEWORKS.get(name)
    if framework is None:
        return True
    text = TextLengths(1, 1)
    training = TrainingSpec(model("gpt2-tiny"), HeadSpec(num_classes=2), LoraTuning(r=1))
    return any(
        isinstance(step, Compute)
        and step.site is Site.SERVER
        and operation_regime(step.operation) == "model"
        for segment in framework(ClientPlan(training, (text,), text, cut=Cut(1))).round
        if not isinstance(segment, Gather)
        for _, step in leaf_steps(segment.steps)
    )


#: What the words beside a key mean.
_WHEN: Final[Mapping[When, Callable[[Use, str], bool]]] = {
    "tuning = lora": lambda u, _: u["model.tuning"] == "lora",
    "head = classification": lambda u, _: u["model.head"] == "classification",
    "optimizer = adam": lambda u, _: u["workload.optimizer"] == "adam",
    "partition = dirichlet": lambda u, _: u["learning.partition"] == "dirichlet",
    "the framework has a public set": lambda u, _: _reads(u, "workload.public_samples"),
    "a public set with distillation_loss = kl": lambda u, _: (
        _reads(u, "workload.public_samples") and u["learning.distillation_loss"] == "kl"
    ),
    "the framework cuts the model": lambda u, _: _is_cut(u, "v1", "v2"),
    "one server-side model for all clients": lambda u, _: _is_cut(u, "v2"),
    # V1 with everybody there is FedLLM computed in two places, wherever it is cut. A client that
    # was away begins its next round with new adapters above the cut and its old ones below.
    "one server-side model, or a cut and clients that fail": lambda u, _: (
        _is_cut(u, "v2") or (_is_cut(u, "v1") and u[_PARTICIPATION] not in (None, 0.0))
    ),
    "lengths are not the data set's": lambda u, _: (
        u["workload.lengths"] not in (None, u["workload.dataset"])
    ),
    "clients have unequal data": lambda u, _: u.has_unequal_data,
    "clients fail": lambda u, _: u[_PARTICIPATION] not in (None, 0.0),
    "clients are away at times": lambda u, _: u["fleet.availability.kind"] not in (None, "always"),
    "fewer are asked than there are": lambda u, _: _is_less(
        u, "policy.clients_per_round", "fleet.num_clients"
    ),
    "fewer are awaited than are asked": lambda u, _: _awaits_fewer(u),
    "contributions come late": lambda u, _: u.num_late > 0,
    "mode is not synchronous": lambda u, _: u["policy.mode"] not in (None, "synchronous"),
    "secure sums": lambda u, _: u["privacy.secure_aggregation"] is not None,
    # A server that only averages multiplies no matrices.
    "the framework trains there": lambda u, path: (
        not path.startswith("server.") or _trains_at_server(u.framework)
    ),
}


@cache
def learning_keys(model: type[BaseModel] = Settings) -> tuple[LearningKey, ...]:
    """Every key of a file that declares ``learning``, tables within tables included.

    A class of clients has none of its own: its keys stand for others, and so do some of a real
    run's.
    """
    return tuple(_keys(model, ()))


def _keys(
    model: type[BaseModel], location: tuple[str, ...], when: When | None = None
) -> Iterator[LearningKey]:
    """Keys of a table; ``when`` is said of the whole table, and of keys that say nothing."""
    for name, entry in model.model_fields.items():
        place = (*location, entry.alias or name)
        if place == _CLASSES:
            continue
        if place == (_SCHEDULE,):
            yield LearningKey(_SCHEDULE, "condition", None, None, is_mandatory=False)
            continue
        extra = entry.json_schema_extra
        assert isinstance(extra, dict)
        if place[0] in _OF_RUNS and "stands_for" in extra:
            continue
        inner = table_type(model, place[-1:])
        if inner is not None and inner is not DatasetTable:
            said = extra.get("when", when)
            yield from _keys(inner, place, said)  # type: ignore[arg-type]
            continue
        if "learning" in extra:
            yield LearningKey(
                ".".join(place),
                extra["learning"],  # type: ignore[arg-type]
                extra.get("when", when),  # type: ignore[arg-type]
                None if entry.is_required() else plain(entry.default),
                entry.is_required(),
            )


def plain(value: Any) -> Value:
    """A value as a file of curves has it."""
    if isinstance(value, LengthDistribution):
        return _lengths(value)
    if isinstance(value, (tuple, list)):
        return ", ".join(str(one) for one in value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, DatasetTable):
        return value.path or value.name
    return str(value)


def _lengths(found: LengthDistribution) -> str:
    """A data set's own by its name; given ones by what they are, for all lists have one name."""
    if found.name not in ("list", "histogram"):
        return found.name
    text = ", ".join(f"{length} x {count}" for length, count in found.histogram)
    if len(found.histogram) <= _MOST_LENGTHS:
        return text
    return f"{len(found.histogram)} lengths, {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def scenario_use(
    framework: str,
    settings: Settings,
    federation: FederationSpec,
    num_late: int,
    schedule: str | None = None,
) -> Use:
    """What a scenario asks a law for.

    Parameters
    ----------
    framework : str
    settings : Settings
    federation : FederationSpec
    num_late : int
        Contributions that came too late in a simulation.
    schedule : str, optional
        What changes by round, where anything does.
    """
    values = {key.path: _values(settings, key.path) for key in learning_keys()}
    values[_SCHEDULE] = (schedule,)
    # Needed by what other keys depend on, whether or not they are conditions themselves.
    values["privacy.secure_aggregation"] = (settings.privacy.secure_aggregation,)
    values["fleet.num_clients"] = (federation.num_clients,)
    is_unequal = any(c.client_samples is not None for c in federation.classes)
    return Use(framework, values, num_late, is_unequal)


def _values(settings: Settings, path: str) -> tuple[Value, ...]:
    own = plain(_at(settings, path))
    classes = settings.fleet.classes
    found = dict.fromkeys(_of_class(table, path, own) for table in classes)
    return tuple(found) if classes else (own,)


def _at(table: Any, path: str) -> Any:
    for name in path.split("."):
        table = None if table is None else getattr(table, name)
    return table


def _of_class(table: ClassTable, path: str, own: Value) -> Value:
    """A class's own value of a key, if it has one that stands for it."""
    for name, entry in ClassTable.model_fields.items():
        extra = entry.json_schema_extra
        assert isinstance(extra, dict)
        target, given = str(extra.get("stands_for")), getattr(table, name)
        if given is None:
            continue
        if path == target:
            return plain(given)
        if path.startswith(f"{target}."):
            key = path.removeprefix(f"{target}.")
            # A table that names only some keys leaves the others as they are.
            is_given = key.partition(".")[0] in given.model_fields_set
            return plain(_at(given, key)) if is_given else own
    return own


def _law_use(law: LearningLaw) -> Use:
    values = {key.path: (law.conditions.get(key.path, key.default),) for key in learning_keys()}
    return Use(law.framework, values)


def conditions(use: Use, keys: Iterable[LearningKey]) -> dict[str, str | int | float | bool]:
    """What runs have in common that are compared, of some keys.

    A key that only real runs have is stated where it is not at its default, which is what a
    scenario without it means.
    """
    found: dict[str, str | int | float | bool] = {}
    for key in keys:
        value = use[key.path]
        if key.role not in ("condition", "open") or value is None:
            continue
        if key.path.startswith(_OF_RUNS) and value == key.default:
            continue
        if use.feels(key) or use.failing().feels(key):
            found[key.path] = value
    return found


def differences(law: LearningLaw, use: Use) -> list[str]:
    """Conditions under which a law's curves were measured and that are not shared."""
    measured_in, found, known = _law_use(law), [], set()
    given = {*law.covariates, *law.fixed}
    for key in learning_keys():
        known.add(key.path)
        if key.role not in ("condition", "covariate", "open"):
            continue
        if not (use.feels(key) or measured_in.feels(key)):
            continue
        here = use.values[key.path]
        if key.role == "covariate" and key.covariate in given and len(here) == 1:
            continue
        if key.role == "open" and here == (None,):
            continue
        if text := _difference(key, law.conditions.get(key.path, key.default), here):
            found.append(text)
    found += [
        f"{name}: measured {_shown(value)}, which a scenario cannot have"
        for name, value in law.conditions.items()
        if name not in known
    ]
    return found


def _difference(key: LearningKey, measured: Any, here: tuple[Value, ...]) -> str:
    is_stated = measured is not None or not (key.is_mandatory or key.role == "covariate")
    there = _shown(measured) if is_stated else "not stated"
    if len(here) > 1:
        unequal = ", ".join(_shown(value) for value in here)
        return f"{key.path}: measured {there}, here unequal over classes ({unequal})"
    if is_stated and here[0] == measured:
        return ""
    if is_stated:
        return f"{key.path}: measured {there}, here {_shown(here[0])}"
    return f"{key.path}: not stated by the curves, here {_shown(here[0])}"


def covariates(law: LearningLaw, use: Use) -> dict[str, float]:
    """Where a law is asked: the covariates that it knows.

    Raises
    ------
    ScenarioError
        If classes of clients differ in one: no curve was measured of a mixture.
    """
    given, found = {*law.covariates, *law.fixed}, {}
    for key in learning_keys():
        value = use[key.path]
        if key.role == "covariate" and key.covariate in given and value is not None:
            if len(use.values[key.path]) > 1:
                shown = ", ".join(_shown(one) for one in use.values[key.path])
                raise ScenarioError(f"classes of clients differ in {key.path} ({shown})")
            found[key.covariate] = 1.0 - value if key.path == _PARTICIPATION else float(value)
    return found


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
