"""The two halves of a codec do not know each other: the counting one has no torch, and what is
done to tensors asks no formula what it should cost."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_FILES = (
    *sorted(p for p in (_ROOT / "fedsim" / "codec").glob("*.py") if p.name != "__init__.py"),
    _ROOT / "tests" / "toy_codecs.py",
    _ROOT / "docs" / "examples" / "eight_bits.py",
)
_COUNTING = ("on_wire", "encoding_work", "decoding_work")
_DOING = ("encode", "decode")
#: Names of the counting half, which a tensor function has no use for.
_COUNTED = {*_COUNTING, "TensorSpec", "CodecWork", "num_bytes", "num_values", "message_bytes"}


def names_in(node: ast.AST) -> set[str]:
    """Every name and attribute below a node, and every module that is imported there."""
    found = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            found.add(inner.id)
        if isinstance(inner, ast.Attribute):
            found.add(inner.attr)
        if isinstance(inner, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in inner.names)
        if isinstance(inner, ast.ImportFrom):
            found.add((inner.module or "").partition(".")[0])
            found.update(alias.name for alias in inner.names)
    return found


def wall_breaches(source: str) -> list[str]:
    """What a codec's file does that it must not, each with its function."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            # Annotations are not executed: `from __future__ import annotations`.
            names = set().union(*(names_in(statement) for statement in node.body))
            if node.name in _DOING:
                found += [f"{node.name}: {name}" for name in sorted(names & _COUNTED)]
            elif "torch" in names:
                found.append(f"{node.name}: torch")
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) and "torch" in names_in(node):
            found.append("module: torch")
    return found


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_a_codecs_halves_are_apart(path: Path) -> None:
    """Every shipped codec, and those of tests and manual."""
    source = path.read_text(encoding="utf-8")
    classes = [n for n in ast.parse(source).body if isinstance(n, ast.ClassDef)]
    functions = {n.name for c in classes for n in c.body if isinstance(n, ast.FunctionDef)}
    assert {"on_wire", *_DOING} <= functions
    assert "from __future__ import annotations" in source
    assert wall_breaches(source) == []


@pytest.mark.parametrize(
    ("body", "breach"),
    [
        ("import torch", "module: torch"),
        ("class C:\n def on_wire(self, t):\n  import torch", "on_wire: torch"),
        ("class C:\n def helper(self, t):\n  import torch.nn", "helper: torch"),
        ("class C:\n def encode(self, t):\n  return self.on_wire(t)", "encode: on_wire"),
        ("class C:\n def decode(self, t):\n  TensorSpec('x', (1,), 'uint8')", "decode: TensorSpec"),
    ],
)
def test_a_breach_is_found(body: str, breach: str) -> None:
    """The check itself, on files that do what none may."""
    assert wall_breaches(body) == [breach]
