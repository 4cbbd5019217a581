"""Keys that training files once had, and where each stands since a training file is a scenario."""

from __future__ import annotations

from typing import Final

__all__ = ["MOVED_KEYS"]

_CASE: Final = (
    'moved: a case names the framework; write [[case]] with name = "NAME" and framework = '
    "{found} instead, and choose among several cases by --case NAME."
)
#: By the old place: what to type, with the value that was found as ``{found}``.
MOVED_KEYS: Final[dict[tuple[str, str], str]] = {
    ("train", "framework"): _CASE,
    ("train", "weights"): "moved to [learning]: write weights = {found} there, or "
    "--set learning.weights={found}.",
    ("train", "dropout_probability"): "moved to [fleet]: write dropout_probability = {found} "
    "there, or --set fleet.dropout_probability={found}.",
    ("data", "num_clients"): "moved to [fleet]: write num_clients = {found} there, or "
    "--set fleet.num_clients={found}.",
}
