"""Training on a CSV file of one's own, with labels and as text alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedsim.errors import ScenarioError
from fedsim.runtime.data import generated_intents
from fedsim.training.collect import collect_curves
from training_file import TOML, train, training_file

CSV_DATA = '[data]\ndataset = { path = "own.csv", label_column = "intent", test_share = 0.25 }\n'


def file(folder: Path, data: str = CSV_DATA, num_rows: int = 40) -> Path:
    """A scenario beside a file of texts."""
    texts, _ = generated_intents(num_rows, 1, 4, seed=1)
    rows = [f"{text},{texts.label_names[label]}" for text, label in zip(texts.texts, texts.labels)]  # noqa: B905
    (folder / "own.csv").write_text("\n".join(["text,intent", *rows]) + "\n", encoding="utf-8")
    old = '[data]\ndataset = "generated"\ntest_samples = 8\n'
    assert old in TOML
    return training_file(folder, TOML.replace(old, data))


@pytest.mark.parametrize("case", ["fedllm", "kd_fedllm"])
def test_a_file_beside_the_scenario_is_trained_on(case: str, tmp_path: Path) -> None:
    """Its labels, its held-out rows, and its name with its content's digest in the curves."""
    result = train(file(tmp_path), tmp_path / "run", case=case, workload__num_rounds=2)
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    name = summary["configuration"]["workload"]["dataset"]
    assert name.startswith("own.csv ")
    assert summary["configuration"]["model"]["num_classes"] == 4
    (group,) = collect_curves([tmp_path / "run"]).groups
    assert group.conditions["workload.dataset"] == name
    assert group.test_samples == 10


def test_texts_alone_train_a_language_model(tmp_path: Path) -> None:
    """Without a label column."""
    data = CSV_DATA.replace('label_column = "intent", ', "")
    path = file(tmp_path, data)
    path.write_text(path.read_text().replace("num_classes = 4", 'head = "language_model"'))
    result = train(path, tmp_path / "run", workload__num_rounds=1)
    assert result.exit_code == 0, result.output
    assert "perplexity" in result.output


def test_too_few_rows_and_a_changed_file_are_told(tmp_path: Path) -> None:
    """More rows than there are; and a run that would go on with other texts."""
    result = train(file(tmp_path, num_rows=12), tmp_path / "few", case="kd_fedllm")
    assert result.exit_code == 2
    assert "[workload] samples_per_client = 6: 2 clients need 12 rows, but only 4 of 9" in (
        " ".join(result.output.split())
    )
    path = file(tmp_path)
    assert train(path, tmp_path / "run", workload__num_rounds=1).exit_code == 0
    with (tmp_path / "own.csv").open("a", encoding="utf-8") as stream:
        stream.write("one more,start_heater\n")
    result = train(path, tmp_path / "run", workload__num_rounds=2)
    assert result.exit_code == 2
    assert "holds a run of another configuration: workload.dataset" in (
        " ".join(result.output.split())
    )


def test_a_folder_of_the_older_format_is_named(tmp_path: Path) -> None:
    """It cannot go on, and its summary is not collected; both say so."""
    out = tmp_path / "run"
    path = file(tmp_path)
    assert train(path, out, workload__num_rounds=1).exit_code == 0
    for name in ("configuration.json", "summary.json"):
        document = json.loads((out / name).read_text())
        (out / name).write_text(json.dumps({**document, "schema": 1}))
    result = train(path, out, workload__num_rounds=2)
    assert result.exit_code == 2
    assert "holds a run of an older fedsim" in " ".join(result.output.split())
    with pytest.raises(ScenarioError, match="of an older fedsim"):
        collect_curves([out])
