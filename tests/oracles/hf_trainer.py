"""Federated fine-tuning out of transformers' Trainer, peft and numpy alone.

Models are built here from the libraries' own classes and a written-out configuration; nothing of
fedsim has a part in it but the rows and the order in which a client visits them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import transformers
from peft import LoraConfig, TaskType, get_peft_model, get_peft_model_state_dict
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2ForSequenceClassification

from fedsim.draws import visiting_order
from fedsim.runtime.data import EncodedDataset

__all__ = [
    "BATCH_SIZE",
    "LEARNING_RATE",
    "RANK",
    "averaged_by_hand",
    "peft_model",
    "trained_by_trainer",
    "trained_tensors",
]

BATCH_SIZE, LEARNING_RATE, RANK = 8, 3e-3, 4
_PAD, _WIDTH = 0, 9


def peft_model() -> Any:
    """A GPT-2 of three small blocks with LoRA on its attention input, the same every time."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=23,
        n_positions=12,
        n_embd=16,
        n_layer=3,
        n_head=4,
        n_inner=28,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        attn_pdrop=0.0,
        num_labels=5,
        pad_token_id=_PAD,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
    )
    lora = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=RANK,
        lora_alpha=8.0,
        lora_dropout=0.0,
        target_modules=["c_attn"],
        fan_in_fan_out=True,
    )
    with warnings.catch_warnings():
        # peft asks transformers for a name that it is about to rename.
        warnings.simplefilter("ignore")
        network = GPT2ForSequenceClassification._from_config(config, attn_implementation="eager")
        return get_peft_model(network, lora)


def trained_tensors(model: Any) -> dict[str, Tensor]:
    """Adapters and head under the names that peft saves them by."""
    found: dict[str, Tensor] = get_peft_model_state_dict(model)
    return {name: tensor.detach().clone() for name, tensor in found.items()}


def trained_by_trainer(
    model: Any, rows: EncodedDataset, client_id: str, rounds: Sequence[int]
) -> list[float]:
    """Train a model on one client's rows, Adam kept over the rounds; the loss of every step."""
    batches = [batch for number in rounds for batch in _batches(rows, client_id, number)]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adam = torch.optim.Adam(trained, lr=LEARNING_RATE)
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            max_grad_norm=0.0,
            lr_scheduler_type="constant",
            learning_rate=LEARNING_RATE,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            logging_strategy="no",
        )
        trainer = _RecordingTrainer(
            batches, model=model, args=arguments, optimizers=(adam, None), callbacks=[]
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return trainer.losses


def averaged_by_hand(
    sent: Mapping[str, Mapping[str, Tensor]], num_rows: Mapping[str, int]
) -> dict[str, Tensor]:
    """``sum n_k x_k / sum n_k`` in 64-bit floats, rounded once (McMahan et al. 2017)."""
    total = sum(num_rows.values())
    averages = {}
    for name in next(iter(sent.values())):
        weighted = [num_rows[k] * sent[k][name].numpy().astype(np.float64) for k in sent]
        averages[name] = torch.from_numpy((sum(weighted) / total).astype(np.float32))
    return averages


def _batches(rows: EncodedDataset, client_id: str, round_index: int) -> list[dict[str, Tensor]]:
    order = visiting_order(0, round_index, client_id, 0, rows.num_rows).tolist()
    batches = []
    for start in range(0, rows.num_rows, BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        ids = torch.full((len(chosen), _WIDTH), _PAD)
        for place, row in enumerate(chosen):
            ids[place, : len(rows.token_ids[row])] = torch.from_numpy(rows.token_ids[row])
        labels = torch.from_numpy(rows.labels[chosen])
        mask = (ids != _PAD).long()
        batches.append({"input_ids": ids, "attention_mask": mask, "labels": labels})
    return batches


class _RecordingTrainer(transformers.Trainer):
    """Keeps every loss with all its digits."""

    def __init__(self, batches: list[dict[str, Tensor]], **options: Any) -> None:
        super().__init__(**options)
        self.batches = batches
        self.losses: list[float] = []

    def get_train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(*args, **kwargs)
        self.losses.append(float(loss.detach()))
        return loss
