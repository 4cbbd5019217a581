"""``fedsim train`` for a reader: what was trained, its curve, what it cost, where it stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fedsim.units import format_bytes, format_flop, format_seconds

__all__ = ["print_training", "training_report"]

#: Rounds of a curve that are shown; the files have them all.
_SHOWN: Final = 10

#: A test loss above this multiple of the untrained model's is said: training took the model away
#: from its data. A little above is ordinary overfitting.
_MUCH_WORSE: Final = 2.0


def print_training(console: Console, summary: Mapping[str, Any], folder: str) -> None:
    """Print a summary and say where its files are."""
    console.print(training_report(summary))
    files = "summary.json, metrics.jsonl, ledger.jsonl and the last checkpoints"
    console.print(f"{folder}: {files}.", highlight=False, soft_wrap=True)


def training_report(summary: Mapping[str, Any]) -> RenderableType:
    """A summary's report."""
    is_language_model = summary["configuration"]["model"]["head"] == "language_model"
    parts: list[RenderableType] = [
        Panel(_title(summary), title="fedsim train", title_align="left"),
        *(_curve(run, is_language_model) for run in summary["runs"]),
        *_worse_than_untrained(summary),
        _totals(summary["runs"]),
        *(_side_by_side(run) for run in summary["runs"]),
    ]
    if len(summary["runs"]) > 1:
        parts.append(_spread(summary["runs"]))
    parts.append(_provenance(summary))
    return Group(*parts)


def _title(summary: Mapping[str, Any]) -> Text:
    file = summary["configuration"]
    work, lora = file["workload"], file["lora"]
    is_full = file["model"]["tuning"] == "full"
    tuning = "every parameter" if is_full else f"LoRA r = {lora['r']:g}"
    public = f", {work['public_samples']:,} public" if work["public_samples"] else ""
    text = (
        f"{file['framework']}, {file['model']['name']} ({file['learning']['weights']} weights), "
        f"{tuning}, {work['dataset']}: {_clients(file)} ({file['learning']['partition']}){public}, "
        f"{file['train']['server_optimizer']}"
    )
    question = f"{summary['question']}\n" if summary["question"] else ""
    return Text(question + text)


def _clients(file: Mapping[str, Any]) -> str:
    samples = file["workload"]["samples_per_client"]
    classes = file["fleet"]["class"]
    if not classes:
        return f"{file['fleet']['num_clients']} clients x {samples:,} samples"
    return "; ".join(
        f"{entry['name']} with {entry['samples_per_client'] or samples:,} samples a client"
        for entry in classes
    )


def _curve(run: Mapping[str, Any], is_language_model: bool) -> RenderableType:
    curve = run["curve"]
    table = Table(
        title=f"seed {run['seed']}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    columns: dict[str, Callable[[int], str]] = {
        "round": lambda i: str(curve["round"][i]),
        "training loss": lambda i: _number(curve["train_loss"][i]),
        "test loss": lambda i: _number(curve["global_loss"][i]),
        "in float32": lambda i: _number(curve["float32_loss"][i]),
        "perplexity": lambda i: _perplexity(curve["global_loss"][i]),
        "accuracy": lambda i: _share(curve["global_accuracy"][i]),
        "clients' own": lambda i: _share(curve["mean_client_accuracy"][i]),
    }
    if not any(loss is not None for loss in curve["float32_loss"]):
        del columns["in float32"]
    if not is_language_model:
        del columns["perplexity"]
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for index in _shown(len(curve["round"])):
        table.add_row(*(cell(index) for cell in columns.values()))
    return table


def _shown(num_rows: int) -> list[int]:
    """First, last and evenly spread rows between."""
    if num_rows <= _SHOWN:
        return list(range(num_rows))
    last = num_rows - 1
    return sorted({round(i * last / (_SHOWN - 1)) for i in range(_SHOWN)})


def _worse_than_untrained(summary: Mapping[str, Any]) -> list[Text]:
    """What a run that ends finite, and far worse than it began, must not leave to the reader."""
    rate = summary["configuration"]["learning"]["learning_rate"]
    lines = []
    for run in summary["runs"]:
        losses = [loss for loss in run["curve"]["global_loss"] if loss is not None]
        if len(losses) > 1 and losses[-1] > _MUCH_WORSE * losses[0]:
            lines.append(
                Text(
                    f"seed {run['seed']}: worse than untrained, test loss {losses[-1]:,.2f} for "
                    f"{losses[0]:.2f} at the start. It diverged or overfitted, and its accuracy "
                    f"says nothing about {summary['configuration']['framework']}; try a "
                    f"lower learning.learning_rate ({rate:g} here).\n",
                    style="yellow",
                )
            )
    return lines


def _totals(runs: Sequence[Mapping[str, Any]]) -> RenderableType:
    lines = Text("All rounds and clients, the set-up included\n", style="bold")
    for run in runs:
        total = run["totals"]
        sent = (
            f"{format_bytes(total['uplink_payload_bytes'])} up, "
            f"{format_bytes(total['downlink_payload_bytes'])} down"
        )
        done = (
            f"clients {format_flop(total['client_flop'])}, server "
            f"{format_flop(total['server_flop'])}, evaluation "
            f"{format_flop(total['evaluation_flop'])}"
        )
        took = (
            f"{format_seconds(total['compute_s'] + total['transfer_s'])} for the rounds, "
            f"{format_seconds(total['evaluation_s'])} for evaluation"
        )
        lines.append(f"seed {run['seed']}: {sent}; {done}; {took}\n", style="not bold")
    return lines


#: What was predicted and measured, by the names of the summary: words, how shown.
_SIDES: Final[tuple[tuple[str, str, Callable[[float], str]], ...]] = (
    ("uplink_payload_bytes", "payload up", lambda value: f"{value:,.0f} B"),
    ("downlink_payload_bytes", "payload down", lambda value: f"{value:,.0f} B"),
    ("uplink_message_bytes", "messages up", lambda value: f"{value:,.0f} B"),
    ("downlink_message_bytes", "messages down", lambda value: f"{value:,.0f} B"),
    ("client_flop", "clients' FLOP", lambda value: f"{value:,.0f}"),
    ("server_flop", "server's FLOP", lambda value: f"{value:,.0f}"),
    ("compute_s", "computing", format_seconds),
    ("accuracy", "accuracy", lambda value: f"{value:.2%}"),
)


def _side_by_side(run: Mapping[str, Any]) -> RenderableType:
    """What the file predicted of a seed's run, and what it measured."""
    table = Table(
        title=f"seed {run['seed']}: predicted and measured",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in ("", "predicted", "measured"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    table.add_column("")
    for key, words, shown in _SIDES:
        entry = run["predicted_and_measured"][key]
        one, other = entry["predicted"], entry["measured"]
        table.add_row(
            words,
            "none" if one is None else shown(one),
            "not measured" if other is None else shown(other),
            Text(_remark(key, entry, shown)),
        )
    return table


def _remark(key: str, entry: Mapping[str, Any], shown: Callable[[float], str]) -> str:
    one, other = entry["predicted"], entry["measured"]
    if one is None:
        return f"not predicted: {entry['reason']}"
    if key == "compute_s":
        return (
            f"95 %: {shown(entry['low'])} to {shown(entry['high'])} on "
            f"{', '.join(entry['devices'])}, one party after the other; measured on this machine"
        )
    if key == "accuracy":
        has_interval = entry["low"] is not None
        return f"95 %: {shown(entry['low'])} to {shown(entry['high'])}" if has_interval else ""
    if other is None:
        return "train.count_flop = true lets torch count too"
    return "equal" if one == other else "DIFFERENT"


def _spread(runs: Sequence[Mapping[str, Any]]) -> Text:
    finals = [run["final"]["global"]["accuracy"] for run in runs if run["final"]["global"]]
    if not finals:
        return Text()
    mean = sum(finals) / len(finals)
    return Text(
        f"Accuracy after the last round, {len(finals)} seeds: mean {mean:.2%}, from "
        f"{min(finals):.2%} to {max(finals):.2%}.\n"
    )


def _provenance(summary: Mapping[str, Any]) -> Text:
    machine, versions = summary["machine"], summary["versions"]
    weights = summary["weights"]
    source = f" from {weights['source']}" if weights["source"] else ""
    lines = [
        f"On {machine['processor']} ({machine['num_threads']} threads), "
        f"torch {versions['torch']}, transformers {versions['transformers']}, "
        f"peft {versions['peft']}; fedsim {summary['fedsim']} at {summary['commit']}.",
        f"Weights {weights['choice']}{source}. A client's own model is the one at the end of its "
        "own work in the round.",
    ]
    return Text("\n".join(lines), style="dim")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _perplexity(loss: float | None) -> str:
    return "" if loss is None else f"{math.exp(min(loss, 700.0)):,.1f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
