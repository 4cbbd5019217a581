"""Where a scenario stands, and the files that it names: each read once for one answer.

Nothing read here outlives an answer: a file that has changed by the next one is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from fedsim.calibration.profile import Profile
from fedsim.learning.find import find_laws
from fedsim.learning.store import Laws
from fedsim.scenario.file.client_files import (
    ClientFigures,
    read_availability,
    read_client_figures,
    read_rate_trace,
)
from fedsim.spec.availability import Trace
from fedsim.spec.link import RateTrace
from fedsim.spec.model import ModelSpec
from fedsim.spec.model_config import resolve_model

__all__ = ["Context"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Context:
    """A scenario's folder, its profile, and what was read of its files.

    Attributes
    ----------
    folder : Path
        Where relative paths start.
    profile : Profile or None
    inputs : set of Path
        Every file that was asked for.
    """

    folder: Path
    profile: Profile | None = None
    inputs: set[Path] = field(default_factory=set, compare=False, repr=False)
    _read: dict[Hashable, object] = field(default_factory=dict, compare=False, repr=False)

    def model(self, name: str) -> ModelSpec:
        """A model by its catalogue name or path."""
        self.note(name, "config.json")
        return self.once(("model", name), lambda: resolve_model(name, self.folder))

    def laws(self, name: str) -> Laws:
        """Fitted learning curves by name or path."""
        self.note(name, "laws.json")
        return self.once(("laws", name), lambda: find_laws(name, self.folder))

    def client_figures(self, name: str) -> ClientFigures:
        """A table with a row for each client."""
        self.note(name)
        return self.once(("clients", name), lambda: read_client_figures(self.folder / name))

    def rate_trace(self, name: str, period_s: float) -> RateTrace:
        """Factors on a link's rates over time."""
        self.note(name)
        return self.once(
            ("rates", name, period_s), lambda: read_rate_trace(self.folder / name, period_s)
        )

    def availability(self, name: str, period_s: float) -> Trace:
        """When clients are there."""
        self.note(name)
        return self.once(
            ("stays", name, period_s), lambda: read_availability(self.folder / name, period_s)
        )

    def note(self, name: str, *names_in_folder: str) -> None:
        """Remember a file, or those of a folder, as read; a name of what ships is none."""
        path = self.folder / name
        try:
            if path.is_dir():
                self.inputs.update(path / inner for inner in names_in_folder)
            elif path.exists():
                self.inputs.add(path)
                self.inputs.update(path.with_name(inner) for inner in names_in_folder)
        except (OSError, ValueError):
            # A name that no system takes; whoever reads it says so.
            return

    def once(self, key: Hashable, read: Callable[[], _T]) -> _T:
        """What ``read`` gives, read the first time that its key is asked for."""
        if key not in self._read:
            self._read[key] = read()
        return cast("_T", self._read[key])
