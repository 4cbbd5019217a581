"""A mistake in a scenario file as one line: where, what was found, what is allowed, what to type.

Decides the wording. Which mistakes there are is found by pydantic, by the checks and by the specs.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fedsim.errors import ScenarioError, nearest
from fedsim.scenario.file.moved_keys import MOVED_KEYS

__all__ = [
    "Mistake",
    "key_names",
    "place",
    "refusal",
    "shown",
    "table_type",
    "validation_mistakes",
]

_MAX_SHOWN: Final = 40
_MAX_LINES: Final = 30
_SPEC_MESSAGE: Final = re.compile(
    r"(?P<path>[a-z_]+(?:\.[a-z_]+)*)(?: = (?P<found>'[^']*'|[^\s:;]+)[:;]?|:) (?P<text>.*)"
)

#: What other tools call the same thing, where spelling alone gives no hint.
_SYNONYMS: Final = {
    "rank": "r",
    "lora_r": "r",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "lr": "learning_rate",
    "rounds": "num_rounds",
    "epochs": "local_epochs",
    "clients": "num_clients",
    "batch": "batch_size",
    "latency": "round_trip",
    "rtt": "round_trip",
    "upload": "uplink",
    "download": "downlink",
    "bandwidth": "uplink",
    "samples": "samples_per_client",
    "max_length": "max_tokens",
    "split_point": "cut_layer",
    "cut": "cut_layer",
}

#: Mistakes of a key that takes one number, word or switch.
_ONE_VALUE: Final = (
    *("int_type", "float_type", "string_type", "bool_type", "literal_error", "unit"),
    *("int_from_float", "finite_number"),
)
#: Values that other tools and articles have for ours, by key.
_OTHER_WORDS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "mode": dict.fromkeys(
        ("async", "asynchronous", "fedbuff", "fedasync"),
        ("buffered", "aggregation at every buffer_size contributions, as in FedBuff"),
    )
    | {"sync": ("synchronous", "rounds")},
    "head": dict.fromkeys(
        ("generation", "causal_lm", "lm", "next_token"),
        ("language_model", "a next token at every position"),
    ),
}

#: Parts of keys for what is not modeled, however they are put together.
_NOT_MODELED: Final = re.compile(
    r"top_?k|int[48]|nf4|qlora|quantiz|[48]_?bit|sparsif|compress|battery|charg|thermal|throttl"
    r"|heartbeat|pipeline|tensor_parallel|gossip|peer|cluster|hierarch|edge_server|prun"
)

#: pydantic's kinds of mistake in our words.
_WORDS: Final[dict[str, str]] = {
    "missing": "is missing; write {hint}",
    "int_type": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "float_type": "a number is needed",
    "finite_number": "a finite number is needed",
    "string_type": "text in quotes is needed",
    "bool_type": "true or false is needed",
    "greater_than": "allowed: above {gt}",
    "greater_than_equal": "allowed: {ge} or more",
    "less_than": "allowed: below {lt}",
    "less_than_equal": "allowed: {le} or less",
    "literal_error": "allowed: {expected}",
    "unit": "{reason}",
    "lengths": "{reason}",
    "model_type": "a table is needed",
    "dict_type": "a table is needed",
    "tuple_type": "a list is needed",
    "list_type": "a list is needed",
    "too_short": "at least {min_length} entry is needed",
    "too_long": "at most {max_length} entries are allowed",
    "string_too_short": "empty; write some text",
    "string_too_long": "at most {max_length} characters are allowed",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Attributes
    ----------
    where : str
        ``[lora] r``, or empty where the whole file is meant.
    found : str
        The value as it stands there; empty where there is none.
    text : str
        What is allowed and what to type.
    """

    where: str
    found: str
    text: str

    def line(self, file: str, case: str = "") -> str:
        """The mistake as it is shown."""
        value = f" = {self.found}" if self.found else ""
        colon = ":" if value or not self.text.startswith("is ") else ""
        place = f"{self.where}{value}{colon} " if self.where else ""
        return f"{file}: {case}{place}{self.text}"

    @classmethod
    def of(cls, error: Exception, where: str) -> Mistake:
        """A spec's own message, about something at ``where``, with the key in our form.

        Specs begin with ``table.key = value`` or ``key = value``; the second is a key of ``where``.
        """
        match = _SPEC_MESSAGE.fullmatch(str(error))
        if match is None:
            return cls(where, "", str(error))
        path = match["path"]
        if "." in path:
            where = place(tuple(path.split(".")))
        elif where.endswith("]"):
            where = f"{where} {path}"
        elif where:
            where = f"{where}.{path}"
        return cls(where, match["found"] or "", match["text"])


def refusal(lines: Iterable[str]) -> ScenarioError:
    """One error for all mistakes, a line each."""
    distinct = list(dict.fromkeys(lines))
    shown = distinct[:_MAX_LINES]
    if len(distinct) > len(shown):
        shown.append(f"... and {len(distinct) - len(shown)} more mistakes.")
    return ScenarioError("\n".join(shown))


def validation_mistakes(error: ValidationError, model: type[BaseModel]) -> Iterator[Mistake]:
    """Mistakes that pydantic found in a table of type ``model``."""
    for details in error.errors(include_url=False):
        yield _mistake(details, model)


def _mistake(details: ErrorDetails, model: type[BaseModel]) -> Mistake:
    location = details["loc"]
    kind = details["type"]
    if kind == "extra_forbidden":
        moved = MOVED_KEYS.get((str(location[0]), str(location[-1])))
        if moved is not None and len(location) == 2:
            value = shown(details["input"])
            return Mistake(place(location), value, moved.format(found=value))
        return Mistake(place(location), "", f"unknown key{_hint(location, model)}")
    found = details["input"]
    if isinstance(found, list) and len(location) > 1 and kind in _ONE_VALUE:
        return Mistake(place(location), shown(found), _sweep_words(location, found))
    if kind == "missing":
        name = str(location[-1])
        return Mistake(place(location), "", f"is missing; {_meaning(location, model, name)}")
    words = _WORDS.get(kind, details["msg"])
    context = {name: _number(value) for name, value in details.get("ctx", {}).items()}
    try:
        text = words.format(**context)
    except (KeyError, IndexError, ValueError):
        text = details["msg"]
    if kind == "literal_error":
        text += _other_word(str(location[-1]), found) or _nearest_word(found, text)
    elif kind == "bool_type" and str(found).casefold() in ("true", "false"):
        text += f", without quotes: {str(found).casefold()}"
    return Mistake(place(location), shown(found), text)


def _sweep_words(location: tuple[int | str, ...], values: list[Any]) -> str:
    name = ".".join(str(part) for part in location)
    return (
        "one value is needed. Several are a sweep: write them in a [[case]], "
        f"sweep = {{ '{name}' = {shown(values)} }}"
    )


def _other_word(key: str, found: object) -> str:
    """What a value of another tool's is called here."""
    known = _OTHER_WORDS.get(key, {}).get(str(found).casefold())
    return "" if known is None else f". Did you mean {known[0]!r} ({known[1]})?"


def _nearest_word(found: object, allowed: str) -> str:
    """A word like the one that was found, of those in quotes."""
    hint = nearest(str(found), re.findall(r"'([^']+)'", allowed))
    return f".{hint}" if hint else ""


def _number(value: object) -> object:
    return f"{value:,}" if isinstance(value, int) else value


def shown(value: object) -> str:
    """A user's value, cut where it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel):
        return "{...}"
    try:
        text = repr(value)
    except ValueError:
        # Python refuses to print an integer of more than 4300 digits.
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


def place(location: tuple[int | str, ...]) -> str:
    """``("lora", "r")`` as ``[lora] r``; entries of lists count from 1."""
    parts = list(location)
    if not parts:
        return ""
    for position, part in enumerate(parts):
        if isinstance(part, int):
            head = ".".join(str(p) for p in parts[:position])
            rest = _dotted(parts[position + 1 :])
            if head in ("case", "fleet.class", "schedule"):
                return f"[[{head}]] number {part + 1} {rest}".rstrip()
            return f"{place(tuple(parts[:position]))}, entry {part + 1} {rest}".rstrip()
    if len(parts) == 1:
        return str(parts[0])
    return f"[{parts[0]}] {_dotted(parts[1:])}"


def _dotted(parts: list[int | str]) -> str:
    return ".".join(str(part) for part in parts)


def table_type(model: type[BaseModel], location: Iterable[int | str]) -> type[BaseModel] | None:
    """Type of the table at a location, or None where there is none."""
    found: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or found is None:
            continue
        fields = _fields(found)
        found = _table_in(fields[part]) if part in fields else None
    return found


def key_names(model: type[BaseModel]) -> tuple[str, ...]:
    """Keys of a table as they are written."""
    return tuple(_fields(model))


def _fields(model: type[BaseModel]) -> Mapping[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _table_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, (types.UnionType, types.GenericAlias)) or typing.get_origin(
        annotation
    ):
        for argument in typing.get_args(annotation):
            found = _table_in(argument)
            if found is not None:
                return found
    return None


def _hint(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    word = str(location[-1])
    table = table_type(model, location[:-1])
    names = key_names(table) if table is not None else ()
    allowed = f"; allowed: {', '.join(names)}."
    synonym = _SYNONYMS.get(word.casefold(), "")
    if synonym in names:
        return f"{allowed} Did you mean {synonym!r}?"
    hint = nearest(word, names)
    if hint:
        return allowed + hint
    for other, annotation in _fields(model).items():
        inner = _table_in(annotation)
        if inner is not None and {word, synonym} & set(key_names(inner)):
            known = word if word in key_names(inner) else synonym
            return f"{allowed} {known!r} is a key of [{other}]."
    if _NOT_MODELED.search(word.casefold()):
        return f"{allowed} It seems to be about what is not modeled: see 'Not modeled' in the docs."
    return allowed


def _mandatory(table: type[BaseModel]) -> tuple[str, ...]:
    return tuple(f.alias or n for n, f in table.model_fields.items() if f.is_required())


def _meaning(location: tuple[int | str, ...], model: type[BaseModel], name: str) -> str:
    table = table_type(model, location[:-1])
    inner = table_type(model, location)
    if table is None:
        return f"write it as {name} = ..."
    described = next(
        (f.description for n, f in table.model_fields.items() if (f.alias or n) == name), None
    )
    how = f"add a table [{name}]" if inner is not None else f"write {name} = ..."
    needed = () if inner is None else _mandatory(inner)
    if needed:
        how += f" with {', '.join(needed)}"
    return f"{how} ({(described or '').rstrip('.')})."
