"""What ``[data]`` says of a scenario: the data set's name, and how many labels it has.

Decides what may be left out elsewhere because the data say it. Texts of one's own are read, for
their columns and labels; those of a data folder are not asked for, since an answer needs none.
"""

from __future__ import annotations

from typing import Final

from fedsim.errors import ScenarioError
from fedsim.runtime.data.own_texts import dataset_name, labels_of
from fedsim.scenario.file.context import Context
from fedsim.scenario.file.key import Table
from fedsim.scenario.file.mistake import Mistake
from fedsim.scenario.file.settings import Settings
from fedsim.scenario.file.training_tables import DatasetTable
from fedsim.spec.dataset import OwnTexts

__all__ = ["with_data"]

#: Labels of data sets, for a file that leaves them to the data.
_NUM_LABELS: Final = {"banking77": 77, "banking77-hub": 77, "clinc150": 150, "generated": 8}


def with_data(settings: Settings, context: Context) -> tuple[Settings, list[Mistake]]:
    """The settings with what their data say, and what is wrong with that."""
    if settings.data is None:
        return settings, []
    mistakes = [
        mistake
        for key in ("dataset", "public_dataset")
        if (table := getattr(settings.data, key)) is not None
        for mistake in _source_mistakes(table, key)
    ]
    if not mistakes:
        settings, mistakes = _named(settings, settings.data.dataset, context)
    if mistakes and settings.model.num_classes is None:
        # What the data would have said is not missing.
        model = settings.model.model_copy(update={"num_classes": 2})
        settings = settings.model_copy(update={"model": model})
    return settings, mistakes


def _source_mistakes(table: DatasetTable, key: str) -> list[Mistake]:
    where = f"[data] {key}"
    if table.name is None and table.path is None:
        text = 'is missing; name a data set, or a CSV file of your own: { path = "my.csv" }.'
        return [Mistake(where, "", text)]
    if table.name is not None and table.path is not None:
        text = "a data set and a file are both named; leave one of them out."
        return [Mistake(f"{where}.path", repr(table.path), text)]
    of_files = table.model_fields_set - {"name", "path"}
    if table.name is not None and of_files:
        text = (
            f"belongs to CSV files; '{table.name}' has its own columns and test rows: leave it out."
        )
        return [Mistake(f"{where}.{min(of_files)}", "", text)]
    if table.test_path is not None and "test_share" in table.model_fields_set:
        text = "nothing is held out, for test_path has the test rows; leave one of them out."
        return [Mistake(f"{where}.test_share", f"{table.test_share:g}", text)]
    return []


def _named(
    settings: Settings, table: DatasetTable, context: Context
) -> tuple[Settings, list[Mistake]]:
    source = table.source(context.folder)
    needs_labels = settings.model.head == "classification"
    num_labels: int | None
    if isinstance(source, OwnTexts):
        if needs_labels and source.label_column is None:
            text = "is missing; a classification needs the column of its labels."
            return settings, [Mistake("[data] dataset.label_column", "", text)]
        try:
            name = context.once(("texts", source), lambda: dataset_name(source))
            labels = context.once(("labels", source), lambda: labels_of(source))
        except ScenarioError as error:
            return settings, [
                Mistake("[data] dataset", "", line) for line in str(error).splitlines()
            ]
        context.inputs.update(path for path in (source.path, source.test_path) if path is not None)
        num_labels = len(labels) or None
    else:
        name, num_labels = source, _NUM_LABELS.get(source)
    workload, model = settings.workload, settings.model
    if workload.dataset not in ("", name):
        text = f"[data] reads '{name}'; leave this key out, or write dataset = \"\"."
        return settings, [Mistake("[workload] dataset", repr(workload.dataset), text)]
    changes: dict[str, Table] = {"workload": workload.model_copy(update={"dataset": name})}
    if needs_labels and model.num_classes is None and num_labels is not None:
        changes["model"] = model.model_copy(update={"num_classes": max(2, num_labels)})
    return settings.model_copy(update=changes), []
