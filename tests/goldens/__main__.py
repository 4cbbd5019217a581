"""``python tests/goldens --since COMMIT``: every answer of a commit, and of the tree as it is.

Both are made here and now, by one interpreter on one machine, for the last digits of sums differ
between processors. Ends with 1 and the places of the first differences where answers changed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from goldens.answers import GOLDENS, WORDS, Golden, held  # noqa: E402  (its folder first)

_SHOWN = 8


def main() -> None:
    """Make, compare, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--since", required=True, metavar="COMMIT")
    parser.add_argument("--only", default="", metavar="TEXT", help="goldens whose name holds it")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="the commit's answers, kept")
    arguments = parser.parse_args()
    chosen = [golden for golden in GOLDENS if arguments.only in golden.name]
    with tempfile.TemporaryDirectory() as scratch:
        before = _kept(arguments.since, chosen, arguments.keep, Path(scratch))
        after = _made(ROOT, chosen, Path(scratch) / "now")
    refused = [name for name, answer in before.items() if "refused" in answer]
    if refused:
        sys.exit(f"{arguments.since} has no answer to {', '.join(refused)}: nothing would be held")
    new = [golden.name for golden in chosen if golden.name not in before]
    if new:
        sys.stdout.write(f"not in {arguments.since}: {', '.join(new)}\n")
    chosen = [golden for golden in chosen if golden.name in before]
    changed = 0
    for golden in chosen:
        differences = list(islice(_differences(before[golden.name], after[golden.name]), _SHOWN))
        changed += bool(differences)
        sys.stdout.write(f"{golden.name}: {'CHANGED' if differences else 'same'}\n")
        sys.stdout.writelines(f"  {line}\n" for line in differences)
    sys.stdout.write(f"{len(chosen)} answers, {changed} changed since {arguments.since}\n")
    sys.exit(1 if changed else 0)


def _kept(commit: str, goldens: list[Golden], keep: Path | None, scratch: Path) -> dict[str, Any]:
    """A commit's answers, made once where they are kept."""
    known: dict[str, Any] = {}
    git = ["git", "-C", str(ROOT)]
    sha = subprocess.run([*git, "rev-parse", commit], check=True, capture_output=True, text=True)
    file = None if keep is None else keep / f"{sha.stdout.strip()}.json"
    if file is not None and file.is_file():
        known = json.loads(file.read_text(encoding="utf-8"))
    missing = [golden for golden in goldens if golden.name not in known]
    if missing:
        tree = scratch / "tree"
        add = ["worktree", "add", "--quiet", "--detach", str(tree), commit]
        subprocess.run([*git, *add], check=True)
        try:
            known |= _made(tree, missing, scratch / "then")
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(tree)], check=True)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(known), encoding="utf-8")
    return known


def _made(tree: Path, goldens: list[Golden], out: Path) -> dict[str, Any]:
    """Answers of a tree by name, to what it has; of a command that fails, what it said."""
    goldens = [golden for golden in goldens if golden.is_of(tree)]
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        answers = workers.map(lambda golden: _answer(tree, golden, out / golden.name), goldens)
        return dict(zip((golden.name for golden in goldens), answers, strict=True))


def _answer(tree: Path, golden: Golden, out: Path) -> Any:
    out.mkdir(parents=True)
    words = [word.format(out=out) for word in golden.arguments_at(tree)]
    ended = subprocess.run(
        [sys.executable, "-m", "fedsim", *words],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = {
        str(path.relative_to(out)): held(path)
        for path in sorted((*out.rglob("answer.json"), *out.rglob("*.jsonl")))
    }
    if ended.returncode:
        # Compared with anything else it is a change, and its words say which.
        found["refused"] = ended.stderr[-2000:]
    return found


def _differences(before: Any, after: Any, place: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            if key in WORDS:
                continue
            if key not in before or key not in after:
                yield f"{place}.{key}: only {'before' if key in before else 'now'}"
            else:
                yield from _differences(before[key], after[key], f"{place}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, f"{place}[{number}]")
    elif before != after:
        yield f"{place}: {str(before)[:60]} -> {str(after)[:60]}"


if __name__ == "__main__":
    main()
