"""Federated fine-tuning of LLMs: run it, count it, simulate it.

The public face. A name is imported when it is first used, so that ``import fedsim`` costs next to
nothing, and torch is imported when something is really run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fedsim.version import __version__

if TYPE_CHECKING:
    from fedsim.api.agreement import Agreement, verify
    from fedsim.api.answer import Answer, run
    from fedsim.api.training import Training, train
    from fedsim.comparison.result import Result
    from fedsim.errors import (
        AgreementError,
        CalibrationError,
        FedsimError,
        ProtocolError,
        ScenarioError,
        TrainingError,
        UnitError,
    )
    from fedsim.protocol import FEDLLM, FRAMEWORKS, KD_FEDLLM, SPLIT_FEDLLM
    from fedsim.protocol.framework import Framework
    from fedsim.protocol.mini_batches import inference_batches, training_batches
    from fedsim.protocol.operation import (
        Aggregate,
        BackwardFromCut,
        Content,
        Distill,
        ForwardToCut,
        InferLogits,
        Operation,
        Part,
        ProcessKnowledge,
        Replace,
        Train,
        TrainAboveCut,
    )
    from fedsim.protocol.payload import (
        Payload,
        TensorSpec,
        activation_gradient_payload,
        activation_payload,
        adapter_payload,
        base_weights_payload,
        logits_payload,
        public_text_payload,
    )
    from fedsim.protocol.step import (
        Compute,
        Direction,
        Each,
        Gather,
        Once,
        Protocol,
        Repeat,
        Segment,
        Site,
        Step,
        Transfer,
    )
    from fedsim.scenario.file.document import scenario_names
    from fedsim.spec.batch import BatchShape, TextLengths
    from fedsim.spec.codec import Codec, CodecFacts, CodecWork
    from fedsim.spec.plan import ClientPlan

__all__ = [
    "FEDLLM",
    "FRAMEWORKS",
    "KD_FEDLLM",
    "SPLIT_FEDLLM",
    "Aggregate",
    "Agreement",
    "AgreementError",
    "Answer",
    "BackwardFromCut",
    "BatchShape",
    "CalibrationError",
    "ClientPlan",
    "Codec",
    "CodecFacts",
    "CodecWork",
    "Compute",
    "Content",
    "Direction",
    "Distill",
    "Each",
    "FedsimError",
    "ForwardToCut",
    "Framework",
    "Gather",
    "InferLogits",
    "Once",
    "Operation",
    "Part",
    "Payload",
    "ProcessKnowledge",
    "Protocol",
    "ProtocolError",
    "Repeat",
    "Replace",
    "Result",
    "ScenarioError",
    "Segment",
    "Site",
    "Step",
    "TensorSpec",
    "TextLengths",
    "Train",
    "TrainAboveCut",
    "Training",
    "TrainingError",
    "Transfer",
    "UnitError",
    "__version__",
    "activation_gradient_payload",
    "activation_payload",
    "adapter_payload",
    "base_weights_payload",
    "inference_batches",
    "logits_payload",
    "public_text_payload",
    "run",
    "scenario_names",
    "train",
    "training_batches",
    "verify",
]

#: Where each name is kept; the imports above say it to type checkers.
_HOMES = {
    "fedsim.api.answer": ("Answer", "run"),
    "fedsim.api.agreement": ("Agreement", "verify"),
    "fedsim.api.training": ("Training", "train"),
    "fedsim.comparison.result": ("Result",),
    "fedsim.errors": (
        "AgreementError",
        "CalibrationError",
        "FedsimError",
        "ProtocolError",
        "ScenarioError",
        "TrainingError",
        "UnitError",
    ),
    "fedsim.protocol": ("FEDLLM", "FRAMEWORKS", "KD_FEDLLM", "SPLIT_FEDLLM"),
    "fedsim.protocol.framework": ("Framework",),
    "fedsim.protocol.mini_batches": ("inference_batches", "training_batches"),
    "fedsim.protocol.operation": (
        "Aggregate",
        "BackwardFromCut",
        "Content",
        "Distill",
        "ForwardToCut",
        "InferLogits",
        "Operation",
        "Part",
        "ProcessKnowledge",
        "Replace",
        "Train",
        "TrainAboveCut",
    ),
    "fedsim.protocol.payload": (
        "Payload",
        "TensorSpec",
        "activation_gradient_payload",
        "activation_payload",
        "adapter_payload",
        "base_weights_payload",
        "logits_payload",
        "public_text_payload",
    ),
    "fedsim.protocol.step": (
        "Compute",
        "Direction",
        "Each",
        "Gather",
        "Once",
        "Protocol",
        "Repeat",
        "Segment",
        "Site",
        "Step",
        "Transfer",
    ),
    "fedsim.scenario.file.document": ("scenario_names",),
    "fedsim.spec.batch": ("BatchShape", "TextLengths"),
    "fedsim.spec.codec": ("Codec", "CodecFacts", "CodecWork"),
    "fedsim.spec.plan": ("ClientPlan",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:
    # Hidden from type checkers, to whom a module with this function has every name.

    def __getattr__(name):
        """Import a public name; see :pep:`562`."""
        if name not in _HOME_OF:
            raise AttributeError(
                f"module 'fedsim' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
            )
        from importlib import import_module

        value = getattr(import_module(_HOME_OF[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
