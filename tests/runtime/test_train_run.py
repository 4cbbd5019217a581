"""What a run writes, and that one client's run is plain fine-tuning."""

from __future__ import annotations

import json
import warnings
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from rich.console import Console
from torch.utils.data import DataLoader

from fedsim.draws import visiting_order
from fedsim.report.run.training import training_report
from fedsim.runtime.build_model import build_model
from fedsim.runtime.federation import Federation
from fedsim.runtime.training import round_runner
from fedsim.training.setup import TrainingSetup
from tiny import CPU
from training_file import (
    TOML,
    lines,
    needs_published_data,
    read,
    train,
    training_file,
    untimed,
)

FRAMEWORKS = ("fedllm", "kd_fedllm", "split_fedllm")
COUNTED = (
    "uplink_payload_bytes",
    "downlink_payload_bytes",
    "uplink_message_bytes",
    "downlink_message_bytes",
    "client_flop",
    "server_flop",
)
METRICS = {
    "seed": int,
    "round": int,
    "train_loss": (float, type(None)),
    "distillation_loss": (float, type(None)),
    "client_train_loss": dict,
    "global": (dict, type(None)),
    "float32_loss": (float, type(None)),
    "clients": (dict, type(None)),
    "mean_client_accuracy": (float, type(None)),
    **dict.fromkeys(COUNTED, int),
    "flop_is_metered": bool,
    "evaluation_flop": int,
    "evaluation_samples": int,
    "compute_s": float,
    "transfer_s": float,
    "evaluation_s": float,
    "predicted": (dict, type(None)),
}


def finished(file: Path, out: Path, **keys: Any) -> dict[str, Any]:
    """The summary of a run that ended well."""
    result = train(file, out, **keys)
    assert result.exit_code == 0, result.output
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_metrics_have_a_line_a_round_with_all_columns(framework: str, tmp_path: Path) -> None:
    """And nothing else; losses where a framework has them."""
    finished(training_file(tmp_path), tmp_path / "run", case=framework)
    records = lines(tmp_path / "run" / "metrics.jsonl")
    assert [record["round"] for record in records] == [0, 1, 2, 3, 4]
    for record in records:
        assert record.keys() == METRICS.keys()
        for name, kind in METRICS.items():
            assert isinstance(record[name], kind), name
    first, last = records[0], records[-1]
    assert first["train_loss"] is None
    assert first["clients"] is None
    assert last["client_train_loss"].keys() == last["clients"].keys() == {"clients/0", "clients/1"}
    assert (last["distillation_loss"] is not None) == (framework == "kd_fedllm")
    assert last["evaluation_samples"] == 8 * 3
    assert first["evaluation_samples"] == 8


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_ledger_adds_up_to_the_metrics(framework: str, tmp_path: Path) -> None:
    """Evaluation apart, under a step of its own."""
    summary = finished(training_file(tmp_path), tmp_path / "run", case=framework)
    rows = lines(tmp_path / "run" / "ledger.jsonl")
    for record in lines(tmp_path / "run" / "metrics.jsonl"):
        own = [row for row in rows if row["round"] == record["round"]]
        judged = [row for row in own if row["step"] == "evaluation"]
        for name in COUNTED:
            total = sum(row.get(name, 0) for row in own if row["step"] != "evaluation")
            assert total == record[name]
        flop = sum(row.get("client_flop", 0) + row.get("server_flop", 0) for row in judged)
        assert flop == record["evaluation_flop"]
    assert summary["runs"][0]["totals"]["uplink_payload_bytes"] == sum(
        row.get("uplink_payload_bytes", 0) for row in rows
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("padding", ["max_tokens", "longest"])
def test_flop_by_formula_are_those_that_torch_counts(
    framework: str, padding: str, tmp_path: Path
) -> None:
    """Evaluation included; the run would end with exit code 3 otherwise."""
    keys = {"case": framework, "workload__padding": padding, "workload__num_rounds": 1}
    file = training_file(tmp_path)
    finished(file, tmp_path / "counted", train__count_flop=True, **keys)
    finished(file, tmp_path / "formula", **keys)
    counted, formula = (
        untimed(tmp_path / name / "metrics.jsonl") for name in ("counted", "formula")
    )
    assert [record.pop("flop_is_metered") for record in counted] == [True, True]
    assert [record.pop("flop_is_metered") for record in formula] == [False, False]
    assert counted == formula


def test_a_summary_says_what_it_was_made_with(tmp_path: Path) -> None:
    """Configuration with its defaults, machine, versions, hashes and the curve."""
    summary = finished(training_file(tmp_path), tmp_path / "run")
    assert summary["schema"] == 2
    assert summary["kind"] == "training"
    assert summary["configuration"]["workload"]["batch_size"] == 4
    assert summary["configuration"]["learning"]["distillation_temperature"] == 2.0
    assert summary["versions"]["torch"] == torch.__version__
    assert summary["machine"]["device"] == "cpu"
    run = summary["runs"][0]
    assert len(run["weights_sha256"]) == len(run["data_sha256"]) == 64
    records = lines(tmp_path / "run" / "metrics.jsonl")
    assert run["curve"]["round"] == [0, 1, 2, 3, 4]
    assert run["curve"]["global_accuracy"] == [r["global"]["accuracy"] for r in records]
    assert run["final"]["global"] == records[-1]["global"]


def test_who_is_judged_and_how_often(tmp_path: Path) -> None:
    """Every third round and the last one; the clients alone."""
    finished(
        training_file(tmp_path),
        tmp_path / "run",
        train__evaluate=["clients"],
        train__evaluate_every=3,
    )
    records = lines(tmp_path / "run" / "metrics.jsonl")
    assert [record["round"] for record in records if record["clients"]] == [3, 4]
    assert all(record["global"] is None for record in records)


def test_what_half_precision_costs_is_said(tmp_path: Path) -> None:
    """The global model is judged in float32 too, wherever it is judged; float32 runs are not."""
    file = training_file(tmp_path)
    result = train(file, tmp_path / "run", model__compute_dtype="bfloat16")
    assert result.exit_code == 0, result.output
    assert "in float32" in result.output
    records = lines(tmp_path / "run" / "metrics.jsonl")
    gaps = [abs(record["float32_loss"] - record["global"]["loss"]) for record in records]
    assert 0 < max(gaps) < 0.05
    finished(file, tmp_path / "whole")
    assert {r["float32_loss"] for r in lines(tmp_path / "whole" / "metrics.jsonl")} == {None}


def test_judging_changes_nothing_that_is_learned(tmp_path: Path) -> None:
    """Nor does counting."""
    file = training_file(tmp_path)
    finished(file, tmp_path / "judged", train__count_flop=True)
    finished(file, tmp_path / "blind", train__evaluate=[])
    found = [
        (tmp_path / name / "checkpoints/seed-0/round-000004.safetensors").read_bytes()
        for name in ("judged", "blind")
    ]
    assert found[0] == found[1]


@needs_published_data
def test_a_language_model_is_trained_on_texts(tmp_path: Path) -> None:
    """Loss and accuracy are over next tokens, whose loss falls."""
    text = TOML.replace("num_classes = 4", 'head = "language_model"')
    finished(
        training_file(tmp_path, text),
        tmp_path / "run",
        data__dataset="wikitext2",
        model__tuning="full",
        workload__samples_per_client=30,
        learning__learning_rate=0.003,
    )
    records = lines(tmp_path / "run" / "metrics.jsonl")
    losses = [record["global"]["loss"] for record in records]
    assert losses[-1] < losses[0]


def test_weights_of_ones_own_are_loaded_from_their_folder(tmp_path: Path) -> None:
    """Relative to the file; the base is theirs bit by bit, and the summary says so."""
    file = training_file(tmp_path)
    document = read(file, ["model.tuning=full"])
    federation, _ = TrainingSetup(document).federation(5)
    federation.server.trainer.model.module.save_pretrained(tmp_path / "warm")
    keys = {"learning__weights": "warm", "train__weights_from": "warm", "data__tokenizer": "word"}
    summary = finished(file, tmp_path / "run", **keys)
    assert summary["weights"] == {"choice": "warm", "source": "warm"}
    warm = read(
        file,
        ["learning.weights=warm", "train.weights_from=warm", "data.tokenizer=word"],
    )
    loaded, _ = TrainingSetup(warm).federation(0)
    own = federation.server.trainer.model.backbone.wte.weight
    assert torch.equal(loaded.server.trainer.model.backbone.wte.weight, own)


@pytest.mark.parametrize("weights", ["pretrained", "warm"])
def test_weights_of_another_shape_are_refused(weights: str, tmp_path: Path) -> None:
    """Naming the key to change."""
    file = training_file(tmp_path)
    federation, _ = TrainingSetup(read(file, ["model.tuning=full"])).federation(0)
    federation.server.trainer.model.module.save_pretrained(tmp_path / "tiny")
    result = train(
        file,
        tmp_path / "run",
        learning__weights=weights,
        train__weights_from="tiny",
        data__tokenizer="word",
        model__name="gpt2",
    )
    message = " ".join(result.output.split())
    assert result.exit_code == 2, message
    assert "[train] weights_from" in message
    assert "num_layers = 3 where 12 is expected" in message
    assert "--" not in message


def test_a_dirichlet_partition_gives_clients_labels_of_their_own(tmp_path: Path) -> None:
    """With a small concentration the clients' own models know their labels alone."""
    document = read(
        training_file(tmp_path),
        ["learning.partition=dirichlet", "learning.dirichlet_alpha=1e-4"],
    )
    clients = TrainingSetup(document).federation(0)[0].data.clients.values()
    assert [len(set(rows.labels.tolist())) for rows in clients] < [4, 4]


class _RecordingTrainer(transformers.Trainer):
    """transformers' own trainer over given batches; keeps every loss with all its digits."""

    def __init__(self, batches: list[dict[str, torch.Tensor]], **options: Any) -> None:
        super().__init__(**options)
        self.batches = batches
        self.losses: list[float] = []

    def get_train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(*args, **kwargs)
        self.losses.append(float(loss.detach()))
        return loss


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_one_client_is_plain_fine_tuning(tuning: str, tmp_path: Path) -> None:
    """A federation of one has the loss curve of transformers' trainer with peft's model.

    Same batches in the same order, no dropout, no clipping, a constant rate, Adam kept over rounds.
    """
    document = read(
        training_file(tmp_path),
        [
            f"model.tuning={tuning}",
            "model.dropout=0.0",
            "lora.dropout=0.0",
            "fleet.num_clients=1",
            "workload.samples_per_client=10",
            "workload.local_epochs=2",
            "workload.padding=max_tokens",
            "learning.learning_rate=3e-3",
        ],
    )
    federation, _ = TrainingSetup(document).federation(4)
    ours = _our_losses(federation, num_rounds=3)
    theirs = _their_losses(federation, tmp_path, num_rounds=3)
    assert len(ours) == 3 * 2 * 3
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=2e-5, atol=1e-6)
    assert ours[-1] < ours[0]


def _our_losses(federation: Federation, num_rounds: int) -> list[float]:
    losses: list[float] = []

    def on_step(_round: int, _party: str, step: str) -> None:
        if step == "a2":
            losses.append(federation.clients["clients"].trainer.last_loss)

    runner = round_runner("sequential", federation, on_step=on_step)
    runner.run_setup()
    for round_index in range(1, num_rounds + 1):
        runner.run_round(round_index)
    return losses


def _their_losses(federation: Federation, folder: Path, num_rounds: int) -> list[float]:
    rows, options = federation.data.clients["clients"], federation.options
    source = federation.clients["clients"].private
    batches = []
    for round_index in range(1, num_rounds + 1):
        for epoch in range(len(federation.round_plans.base["clients"].train_epochs)):
            order = visiting_order(options.seed, round_index, "clients", epoch, rows.num_rows)
            for start in range(0, rows.num_rows, 4):
                batch = source.batch(order[start : start + 4].tolist(), CPU)
                positions = torch.arange(batch.token_ids.shape[1])
                batches.append(
                    {
                        "input_ids": batch.token_ids,
                        "attention_mask": (positions <= batch.last_index[:, None]).long(),
                        "labels": batch.labels,
                    }
                )
    fresh = build_model(
        federation.training,
        weights="random",
        pad_token_id=federation.data.pad_token_id,
        seed=options.seed,
        device=CPU,
    )
    trained = [p for p in fresh.module.parameters() if p.requires_grad]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "theirs"),
        num_train_epochs=1,
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
        learning_rate=options.learning_rate,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = _RecordingTrainer(
            batches,  # type: ignore[arg-type]
            model=fresh.module,
            args=arguments,
            optimizers=(torch.optim.Adam(trained, lr=options.learning_rate), None),
        )
        trainer.train()
    return trainer.losses


def test_a_run_that_ends_finite_and_worse_than_untrained_says_so(tmp_path: Path) -> None:
    """An accuracy out of a model that its training destroyed is not left to speak for itself."""
    out = tmp_path / "run"
    summary = finished(training_file(tmp_path), out)
    assert "worse than untrained" not in written_report(summary)
    losses = summary["runs"][0]["curve"]["global_loss"]
    losses[-1] = 900.0 * losses[0]
    report = written_report(summary)
    assert "seed 0: worse than untrained" in report
    assert "lower learning.learning_rate (0.01 here)" in report


def written_report(summary: dict[str, Any]) -> str:
    """A summary's report as plain text, its lines joined."""
    console = Console(file=StringIO(), width=200)
    console.print(training_report(summary))
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
