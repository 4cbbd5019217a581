"""``[codec]``: what messages go through, by what they carry and which way they go."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BeforeValidator

from fedsim.scenario.file.key import Table, key

__all__ = ["CODED", "CodecTable", "WayTable", "both_ways"]

#: Keys of ``[codec]``: contents by name, in the order of :data:`fedsim.spec.codec.ENCODABLE`.
CODED: Final = ("adapters", "logits", "activations", "activation_gradients")


class WayTable(Table):
    """A codec for each way; a name alone stands for both."""

    up: str | None = key(
        "cost",
        "time",
        "learning",
        default=None,
        min_length=1,
        max_length=200,
        description="From clients to the server",
    )
    down: str | None = key(
        "cost",
        "time",
        "learning",
        default=None,
        min_length=1,
        max_length=200,
        description="From the server to clients",
    )


def both_ways(value: object) -> object:
    """A name alone stands for both ways."""
    return {"up": value, "down": value} if isinstance(value, str) else value


_Way = Annotated[WayTable, BeforeValidator(both_ways, json_schema_input_type=str | WayTable)]
_CHOICE: Final = "identity, float32, float16, bfloat16 or module:NAME, or { up = ..., down = ... }"


class CodecTable(Table):
    """``[codec]``: of what is not named here, ``model.payload_dtype`` says the format."""

    adapters: _Way = key(
        "cost", "time", "learning", default=WayTable(), description=f"Of adapters: {_CHOICE}"
    )
    logits: _Way = key(
        "cost",
        "time",
        "learning",
        when="the framework has a public set",
        default=WayTable(),
        description="Of logits (KD-FedLLM)",
    )
    activations: _Way = key(
        "cost",
        "time",
        "learning",
        when="the framework cuts the model",
        default=WayTable(),
        description="Of activations at the cut (Split-FedLLM)",
    )
    activation_gradients: _Way = key(
        "cost",
        "time",
        "learning",
        when="the framework cuts the model",
        default=WayTable(),
        description="Of their gradients (Split-FedLLM)",
    )

    def named(self) -> dict[str, dict[str, str]]:
        """Names of codecs, by content and way; nothing of what is not named."""
        return {
            content: {way: name for way, name in getattr(self, content) if name is not None}
            for content in CODED
        }

    def over(self, base: CodecTable) -> CodecTable:
        """Its codecs, and the base's where it names none."""
        ways = {
            content: getattr(base, content).model_copy(update=own)
            for content, own in self.named().items()
        }
        return CodecTable(**ways)
