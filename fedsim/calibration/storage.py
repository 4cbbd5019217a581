"""What all of calibration's files have in common: strict tables, whole files, torn last lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fedsim.errors import CalibrationError
from fedsim.files import replaced
from fedsim.text_file import read_text

__all__ = ["JsonLines", "StrictTable", "mistakes_of", "write_together"]


class StrictTable(BaseModel):
    """A table of a file: no unknown key, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def mistakes_of(error: ValidationError) -> str:
    """All mistakes of a file, each with its place."""
    return "; ".join(
        f"{'.'.join(str(part) for part in mistake['loc'])}: {mistake['msg']}"
        for mistake in error.errors()
    )


def write_together(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files under temporary names, then rename them in their order.

    Raises
    ------
    CalibrationError
        If the folder cannot be written; nothing that was there is changed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # All are on disk ahead of the first renaming: what fails then is next to nothing.
        with replaced(*(folder / name for name in texts)) as temporaries:
            for temporary, text in zip(temporaries, texts.values(), strict=True):
                temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CalibrationError(
            f"--out {folder}: cannot be written ({error.strerror}); name another folder."
        ) from error


class JsonLines:
    """Records of an unfinished run, one a line, of which only those with our key count.

    Parameters
    ----------
    path : Path
    key : mapping
        What has to be the same for a rerun to go on.
    """

    def __init__(self, path: Path, key: Mapping[str, object]) -> None:
        self.path = path
        self.key = dict(key)

    def read(self) -> Iterator[dict[str, Any]]:
        """Records with our key; a line that a kill tore is passed over.

        Raises
        ------
        CalibrationError
            If the file is there and cannot be read.
        """
        if not self.path.exists():
            return
        text = read_text(self.path, error=CalibrationError, cure="Remove it to start over.")
        for line in text.splitlines():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):  # also a number of too many digits
                continue
            if isinstance(record, dict) and record.get("key") == self.key:
                yield record

    def append(self, record: Mapping[str, Any]) -> None:
        """Put one record on disk.

        Raises
        ------
        CalibrationError
            If the file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                # Behind a line that was torn by a kill, a new one begins.
                stream.write("\n" + json.dumps({"key": self.key, **record}) + "\n")
        except OSError as error:
            raise CalibrationError(
                f"--out {self.path.parent}: cannot be written ({error.strerror}); name another "
                "folder."
            ) from error

    def remove(self) -> None:
        """Forget the unfinished run: the profile has it all."""
        self.path.unlink(missing_ok=True)
