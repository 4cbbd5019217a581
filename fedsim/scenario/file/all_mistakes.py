"""Go on checking after a mistake, so that a file's mistakes are all found at once.

What pydantic refused is left out and, where it must not be missing, replaced by a harmless
stand-in. No result ever comes from a mended table: it only lets the later checks look at the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from fedsim.scenario.file.merge import merged
from fedsim.scenario.file.settings import Settings
from fedsim.spec.quantity import FROM_FILE

__all__ = ["mended_settings"]

#: Sizes so small that no check refuses them; a model's name is not among them, since what fits one
#: model does not fit another.
_STAND_INS: Final[Mapping[str, Any]] = {
    "question": "?",
    "workload": {
        "max_tokens": 1,
        "samples_per_client": 1,
        "batch_size": 1,
        # No schedule acts later than that.
        "num_rounds": 1_000_000,
    },
    "fleet": {},
}
#: For a file with so little in it that all which can be told is what else is missing.
_BARE_STAND_INS: Final[Mapping[str, Any]] = {
    "model": {"name": "gpt2", "num_classes": 2},
    "server": {"device": {"like": "rpi5-8g"}},
}
_LORA_STAND_INS: Final[Mapping[str, Any]] = {"r": 1, "target_modules": ["all-linear"]}


def mended_settings(
    table: Mapping[str, Any], error: ValidationError, *, is_bare: bool = False
) -> Settings | None:
    """The settings without what was refused, or None where too little is left.

    With ``is_bare``, a model and a server stand in too: good for seeing what is missing, and for
    nothing else.
    """
    rest: Any = table
    for details in error.errors(include_url=False, include_context=False, include_input=False):
        rest = _without(rest, details["loc"])
    if not isinstance(rest, dict):
        return None
    stand_ins = dict(_STAND_INS) | (dict(_BARE_STAND_INS) if is_bare else {})
    if "fleet" not in rest:
        # What a client is made of is looked for all the same.
        stand_ins["fleet"] = {"num_clients": 1}
    if isinstance(rest.get("lora"), Mapping):
        stand_ins["lora"] = _LORA_STAND_INS
    try:
        return Settings.model_validate(merged(stand_ins, rest), context=FROM_FILE)
    except ValidationError:
        return None


def _without(value: Any, location: tuple[int | str, ...]) -> Any:
    """A copy without the entry at a location; an entry of a list takes the whole list along."""
    if not isinstance(value, Mapping) or not location or location[0] not in value:
        return value
    name, *inner = location
    rest = dict(value)
    if not inner or isinstance(inner[0], int) or not isinstance(value[name], Mapping):
        del rest[name]
    else:
        rest[name] = _without(value[name], tuple(inner))
    return rest
