"""Texts of one's own: a CSV file, its text column and its label column.

Decides what a row must have, and which rows are for tests. Every mistake in a file is told with its
line, several at once; nothing is repaired and no row is passed over.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedsim.errors import ScenarioError, nearest
from fedsim.runtime.data.random_stream import random_stream
from fedsim.runtime.data.text_dataset import TextDataset
from fedsim.spec.dataset import OwnTexts
from fedsim.text_file import decoded

__all__ = ["dataset_name", "labels_of", "load_own_texts"]

_MAX_FILE_BYTES: Final = 1_000_000_000
_MAX_MISTAKES_SHOWN: Final = 10
#: Whose draw says which rows are held out: neither the partition's nor the public set's.
_HELD_OUT_STREAM: Final = 3
_DIGEST_LENGTH: Final = 8


@dataclass(frozen=True)
class _Row:
    line: int
    text: str
    label: str


def load_own_texts(source: OwnTexts, seed: int) -> tuple[TextDataset, TextDataset]:
    """Training and test rows of a file of one's own.

    Parameters
    ----------
    source : OwnTexts
    seed : int
        Of the rows that are held out, where there is no file of test rows.

    Returns
    -------
    tuple of TextDataset
        Texts unchanged, in the order of the file. Labels number the distinct ones in alphabetical
        order; without a label column there are none.

    Raises
    ------
    ScenarioError
        If a file or a column is missing; if it is no UTF-8 or no CSV; if a row has another number
        of cells, no text or no label; if all labels are the same; if a test row's label is none of
        the training rows'; if there are too few rows.
    """
    rows = _rows(source, source.path)
    names = _label_names(source, rows)
    if source.test_path is not None:
        test = _rows(source, source.test_path)
        _check_known(source.test_path, test, names)
        return _dataset(source, rows, names, "train"), _dataset(source, test, names, "test")
    held = _held_out(source, len(rows), seed)
    return (
        _dataset(source, [row for i, row in enumerate(rows) if i not in held], names, "train"),
        _dataset(source, [row for i, row in enumerate(rows) if i in held], names, "test"),
    )


def labels_of(source: OwnTexts) -> tuple[str, ...]:
    """The distinct labels in alphabetical order; none without a label column.

    Raises
    ------
    ScenarioError
        As :func:`load_own_texts` does, of the training rows.
    """
    return _label_names(source, _rows(source, source.path))


def dataset_name(source: OwnTexts) -> str:
    """What the data set is called: its file, with a digest of all that is read of it.

    Two files of one name are two data sets, and none is a published one.

    Raises
    ------
    ScenarioError
        If a file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    for path in (source.path, source.test_path):
        if path is not None:
            content = _content(path)
            digest.update(f"{len(content)} ".encode() + content)
    share = None if source.test_path is not None else source.test_share
    digest.update(repr((source.text_column, source.label_column, share)).encode())
    return f"{source.path.name} {digest.hexdigest()[:_DIGEST_LENGTH]}"


def _held_out(source: OwnTexts, num_rows: int, seed: int) -> frozenset[int]:
    num_test = round(source.test_share * num_rows)
    if not 0 < num_test < num_rows:
        raise ScenarioError(
            f"'{source.path.name}': too few rows ({num_rows}) to hold {source.test_share:g} of "
            "them out for tests; write more, another test_share, or name test_path."
        )
    order = random_stream(seed, _HELD_OUT_STREAM).permutation(num_rows)
    return frozenset(order[:num_test].tolist())


def _dataset(source: OwnTexts, rows: list[_Row], names: tuple[str, ...], split: str) -> TextDataset:
    number = {name: label for label, name in enumerate(names)}
    return TextDataset(
        name=f"{source.path.name}/{split}",
        texts=tuple(row.text for row in rows),
        labels=tuple(number[row.label] for row in rows) if names else (),
        label_names=names,
    )


def _label_names(source: OwnTexts, rows: list[_Row]) -> tuple[str, ...]:
    if source.label_column is None:
        return ()
    names = tuple(sorted({row.label for row in rows}))
    if len(names) == 1:
        raise ScenarioError(
            f"'{source.path.name}', column {source.label_column}: every row has the label "
            f"{names[0]!r}, so there is nothing to tell apart; at least two labels are needed."
        )
    return names


def _check_known(path: Path, rows: list[_Row], names: tuple[str, ...]) -> None:
    if names:
        _refuse(
            path,
            (
                f"line {row.line}: label {row.label!r} is none of the {len(names)} of the training "
                f"rows.{nearest(row.label, names)}"
                for row in rows
                if row.label not in names
            ),
        )


def _rows(source: OwnTexts, path: Path) -> list[_Row]:
    """Rows below the header, each with the number of the line on which it ends."""
    text = decoded(_content(path), f"'{path.name}'")
    try:
        # newline="" leaves the line ends inside quoted texts to the csv reader.
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = [name.strip() for name in next(reader, [])]
        rows = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise ScenarioError(
            f"'{path.name}', line {reader.line_num}: not a CSV file ({error})."
        ) from error
    columns = [_column(path, header, source.text_column, "text_column")]
    if source.label_column is not None:
        columns.append(_column(path, header, source.label_column, "label_column"))
    if not rows:
        raise ScenarioError(f"'{path.name}': no row below the header; at least one is needed.")
    _refuse(path, _row_mistakes(rows, header, columns))
    return [_Row(line, *(cells[i] for i in columns), *([""] * (2 - len(columns))))
            for line, cells in rows]  # fmt: skip


def _column(path: Path, header: list[str], name: str, key: str) -> int:
    places = [place for place, found in enumerate(header) if found == name]
    if len(places) == 1:
        return places[0]
    what = "no column" if not places else f"{len(places)} columns"
    shown = ", ".join(header) or "none"
    raise ScenarioError(
        f"'{path.name}', line 1: {what} '{name}'; there are {shown}: write {key} = \"NAME\" with "
        f"one of them.{nearest(name, header)}"
    )


def _row_mistakes(
    rows: list[tuple[int, list[str]]], header: list[str], columns: list[int]
) -> Iterator[str]:
    for line, cells in rows:
        if len(cells) != len(header):
            yield f"line {line}: {len(cells)} cells; the header has {len(header)} columns."
            continue
        for place in columns:
            if not cells[place].strip():
                yield f"line {line}: {header[place]} is empty; write something, or no such line."


def _refuse(path: Path, mistakes: Iterator[str]) -> None:
    found = list(mistakes)
    if not found:
        return
    lines = [f"'{path.name}', {mistake}" for mistake in found[:_MAX_MISTAKES_SHOWN]]
    if len(found) > len(lines):
        lines.append(f"'{path.name}': and {len(found) - len(lines)} more lines like these.")
    raise ScenarioError("\n".join(lines))


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ScenarioError(
                f"'{path.name}': there is no such file in '{path.parent}'; paths begin at the "
                "scenario's folder."
            )
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ScenarioError(f"'{path.name}': larger than {_MAX_FILE_BYTES:,} B.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{str(path)[:60]!r}: cannot be read ({error}).") from error
