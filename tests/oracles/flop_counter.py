"""A training step of public models as torch's own counter sees it, on tensors without data.

Shapes are those of the published ``config.json`` files, written out here; modules are those of
transformers and peft. fedsim's table of shapes and of products has no part in it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from peft import LoraConfig, TaskType, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
)

from fedsim.cost.flop import operation_flop
from fedsim.protocol.operation import Part, Train
from fedsim.protocol.parameters import num_trainable
from fedsim.spec.batch import BatchShape
from fedsim.spec.model import HeadSpec
from fedsim.spec.model_catalogue import model
from fedsim.spec.plan import TrainingSpec
from fedsim.spec.tuning import LoraTuning

__all__ = ["CASES", "Case", "Counted", "by_fedsim", "by_torch"]

NUM_SAMPLES, NUM_TOKENS, RANK, NUM_CLASSES = 2, 128, 8, 77


@dataclass(frozen=True)
class Counted:
    """FLOP of one training step, and values that it trains."""

    flop: int
    num_trained: int


@dataclass(frozen=True)
class Case:
    """A public model, its adapted layers and its head."""

    name: str
    targets: tuple[str, ...]
    head: Literal["classification", "language_model"]

    def __str__(self) -> str:
        return f"{self.name}, {self.head}"

    @property
    def config(self) -> PretrainedConfig:
        """The published one, in what shapes depend on."""
        common: dict[str, Any] = {"num_labels": NUM_CLASSES, "pad_token_id": 0, "use_cache": False}
        if self.name == "gpt2-xl":
            return GPT2Config(n_embd=1600, n_layer=48, n_head=25, **common)
        if self.name == "qwen2.5-0.5b":
            return Qwen2Config(
                vocab_size=151_936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
                num_attention_heads=14, num_key_value_heads=2, tie_word_embeddings=True, **common,
            )  # fmt: skip
        return LlamaConfig(
            vocab_size=128_256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
            num_attention_heads=32, num_key_value_heads=8, head_dim=64, tie_word_embeddings=True,
            **common,
        )  # fmt: skip


_ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CASES = tuple(
    Case(name, targets, head)
    for name, targets in (
        ("llama-3.2-1b", ("q_proj", "v_proj")),
        ("qwen2.5-0.5b", _ALL_LINEAR),
        ("gpt2-xl", ("attn.c_attn",)),
    )
    for head in ("classification", "language_model")
)  # fmt: skip


def by_fedsim(case: Case) -> Counted:
    """By the cost table."""
    tuning = LoraTuning(r=RANK, target_modules=case.targets)
    shape = model(case.name)
    training = TrainingSpec(shape, HeadSpec(case.head, NUM_CLASSES), tuning)
    whole = Part.whole(shape.num_layers)
    step = Train(whole, BatchShape.padded(NUM_SAMPLES, NUM_TOKENS))
    return Counted(operation_flop(step, training), num_trainable(training, whole))


@cache
def by_torch(case: Case) -> Counted:
    """By torch's counter around one forward and one backward pass."""
    is_classifier = case.head == "classification"
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = AutoModelForSequenceClassification if is_classifier else AutoModelForCausalLM
        network = kind.from_config(case.config, attn_implementation="eager")
        lora = LoraConfig(
            task_type=TaskType.SEQ_CLS if is_classifier else TaskType.CAUSAL_LM,
            r=RANK,
            target_modules=list(case.targets),
            fan_in_fan_out=case.name == "gpt2-xl",
        )
        module = get_peft_model(network, lora).train()
        tokens = torch.ones((NUM_SAMPLES, NUM_TOKENS), dtype=torch.long)
        labels = tokens[:, 0] if is_classifier else tokens
        # A mask of one's own: transformers would look into the tokens to make one.
        mask = torch.zeros((NUM_SAMPLES, 1, NUM_TOKENS, NUM_TOKENS))
        with FlopCounterMode(display=False) as counter:
            found = module(input_ids=tokens, attention_mask=mask, labels=labels)
            torch.autograd.backward(found.loss)
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return Counted(int(counter.get_total_flops()), trained)
