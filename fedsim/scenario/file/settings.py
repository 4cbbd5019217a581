"""A scenario's settings: all tables together, for one result; and the file that holds them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from fedsim.scenario.file.codec_table import CodecTable
from fedsim.scenario.file.goal_table import GoalTable
from fedsim.scenario.file.hardware_tables import Device, FleetTable, Link, ServerTable
from fedsim.scenario.file.key import Table, key
from fedsim.scenario.file.policy_table import PolicyTable
from fedsim.scenario.file.price_table import PriceTable
from fedsim.scenario.file.privacy_table import PrivacyTable
from fedsim.scenario.file.schedule_table import ScheduleTable
from fedsim.scenario.file.training_tables import DataTable, TrainTable
from fedsim.scenario.file.work_tables import (
    LearningTable,
    LoraTable,
    ModelTable,
    SplitTable,
    WorkloadTable,
)

__all__ = ["OVERRIDABLE", "CaseTable", "ScenarioFile", "Settings"]


class Settings(Table):
    """Everything that one result is computed from, but for the framework."""

    question: str = key("label", description="What is asked", min_length=1, max_length=500)
    goal: GoalTable = key(
        "label", default=GoalTable(), description="The question, for the program that answers it"
    )
    seed: int = key(
        "cost",
        "time",
        "learning",
        learning="draw",
        default=0,
        ge=0,
        lt=2**63,
        description="Of all that is drawn",
    )
    engine: Literal["auto", "analytic", "des", "scale", "sampled"] = key(
        "label", "time", default="auto", description="Which interpreter answers"
    )
    profile: str | None = key(
        "time", default=None, min_length=1, description="Measured profile, by name or path"
    )
    model: ModelTable = key("cost", "time", "learning", description="What is fine-tuned")
    lora: LoraTable | None = key(
        "cost", "time", "learning", default=None, description="The adapters"
    )
    codec: CodecTable = key(
        "cost",
        "time",
        "learning",
        default=CodecTable(),
        description="What messages go through",
    )
    workload: WorkloadTable = key(
        "cost", "time", "learning", description="Data, batches and rounds"
    )
    split: SplitTable = key(
        "cost",
        "time",
        "learning",
        default=SplitTable(),
        description="Where Split-FedLLM cuts the model",
    )
    learning: LearningTable = key(
        "learning", default=LearningTable(), description="What a real run learns by"
    )
    fleet: FleetTable = key("cost", "time", "learning", description="The clients")
    device: Device | None = key(
        "time", "cost", "learning", default=None, description="A client's device"
    )
    link: Link | None = key("time", default=None, description="A client's access link")
    server: ServerTable = key("time", "learning", description="The server")
    price: PriceTable = key("cost", default=PriceTable(), description="What a run costs in money")
    policy: PolicyTable = key(
        "cost", "time", "learning", default=PolicyTable(), description="How long it waits"
    )
    privacy: PrivacyTable = key(
        "cost", "time", "learning", default=PrivacyTable(), description="What hides a contribution"
    )
    data: DataTable | None = key(
        "learning", default=None, description="Which texts a real run reads"
    )
    train: TrainTable = key("learning", default=TrainTable(), description="How a real run is made")

    schedule: Annotated[tuple[ScheduleTable, ...], Field(strict=False, max_length=100)] = key(
        "cost", "time", "learning", default=(), description="What changes by round"
    )


#: Tables that a case may override.
OVERRIDABLE: Final = (
    "model",
    "lora",
    "codec",
    "workload",
    "split",
    "learning",
    "fleet",
    "device",
    "link",
    "server",
    "policy",
    "privacy",
    "price",
    "data",
    "train",
)

_Overrides = dict[str, Any] | None
_Axis = Annotated[list[Any], Field(min_length=1)]


class CaseTable(Table):
    """``[[case]]``: a framework, what differs from the base, and axes to sweep."""

    name: str = key("label", description="Unique among the cases", min_length=1, max_length=60)
    framework: str = key(
        "cost",
        "time",
        "learning",
        learning="framework",
        description="fedllm, kd_fedllm, split_fedllm, or module:function",
    )
    sweep: dict[str, _Axis] = key(
        "cost", "time", "learning", default={}, description="Axes, such as { 'lora.r' = [1, 2, 4] }"
    )
    model: _Overrides = key(
        "cost", "time", "learning", default=None, description="Changes to [model]"
    )
    lora: _Overrides = key(
        "cost", "time", "learning", default=None, description="Changes to [lora]"
    )
    codec: _Overrides = key(
        "cost", "time", "learning", default=None, description="Changes to [codec]"
    )
    workload: _Overrides = key(
        "cost", "time", "learning", default=None, description="Changes to [workload]"
    )
    split: _Overrides = key(
        "cost", "time", "learning", default=None, description="Changes to [split]"
    )
    learning: _Overrides = key("learning", default=None, description="Changes to [learning]")
    fleet: _Overrides = key(
        "cost", "time", "learning", default=None, description="Changes to [fleet]"
    )
    device: str | _Overrides = key(
        "time", "cost", "learning", default=None, description="Changes to [device]"
    )
    link: str | _Overrides = key("time", default=None, description="Changes to [link]")
    server: _Overrides = key("time", "learning", default=None, description="Changes to [server]")
    policy: _Overrides = key(
        "cost", "time", "learning", default=None, description="Changes to [policy]"
    )
    privacy: _Overrides = key(
        "cost", "time", "learning", default=None, description="Changes to [privacy]"
    )
    price: _Overrides = key("cost", default=None, description="Changes to [price]")
    data: _Overrides = key("learning", default=None, description="Changes to [data]")
    train: _Overrides = key("learning", default=None, description="Changes to [train]")

    schedule: list[dict[str, Any]] | None = key(
        "cost", "time", "learning", default=None, description="Instead of the file's [[schedule]]"
    )


class ScenarioFile(Settings):
    """A whole file; ``fedsim scenario --schema`` prints its JSON Schema."""

    extends: str | None = key(
        "label", default=None, description="File whose tables this one overrides, at any depth"
    )
    case: Annotated[tuple[CaseTable, ...], Field(strict=False, min_length=1, max_length=1000)] = (
        key("cost", "time", "learning", description="What is compared")
    )
