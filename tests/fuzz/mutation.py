"""Damage to files that are right: of their structure, of their values, and of their bytes.

Everything is drawn from one generator, so that a seed repeats it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

import tomli_w

__all__ = ["damaged_bytes", "damaged_csv", "damaged_table", "json_bytes", "toml_bytes"]

NAN, INFINITY = float("nan"), float("inf")
_WHOLE: Final = (0, 1, 2, 3, 7, 64, 10**6, 10**9, 10**12, 2**31, 2**63 - 1, 2**63, 10**30, -1)
_REAL: Final = (0.0, -0.0, 0.5, 1.0, 1.5, 1e-300, 5e-324, 1e15, 1e308, -1.0, NAN, INFINITY)
_QUANTITY: Final = ("0 s", "1 ns", "3 h", "1e30 s", "nan s", "-1 s", "10 mbps", "1e-9 bit/s")
_RATES: Final = ("0 bit/s", "1 bit/s", "1e9 TB/s", "3 TFLOP/s", "0 B", "1e12 TB", "5 W", "1e999 J")
_WORDS: Final = (
    *("auto", "des", "scale", "sampled", "buffered", "windowed", "fedllm", "kd_fedllm"),
    *("split_fedllm", "gpt2-tiny", "llama-tiny", "rpi5-8g", "3g", "none", "longest", "secagg+"),
    *("trace", "diurnal", "v2", "interleaved", "bfloat16", "float16", "profile", "full", "x.toml"),
    *("/dev/null", ".", "\x00", "", "ä→", "x" * 3000, "\ufeff", "kd", "all-linear"),
)
_CELLS: Final = ("0", "1", "-1", "nan", "inf", "1e999", "1e-300", "2.5", '"', "", "\x00", "x", "ä")
_BYTES: Final = (b"\xff", b"\x00", b"\xef\xbb\xbf", b"\r", b"\n", b"[", b'"', b"=", b"9" * 5000)


def damaged_table(table: dict[str, Any], draw: Random) -> dict[str, Any]:
    """A copy with one to four places changed, left out, doubled or moved."""
    result = copy.deepcopy(table)
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 4))):
        places = list(_places(result))
        if not places:
            break
        leaves = [(h, k) for h, k in places if not isinstance(h[k], (dict, list))]
        is_mild = bool(leaves) and draw.random() < 0.6
        holder, key = draw.choice(leaves if is_mild else places)
        if is_mild:
            holder[key] = _near(draw, holder[key])
        else:
            draw.choice(_DAMAGES)(holder, key, draw, result)
    return result


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every entry of every table and list, with what holds it."""
    if isinstance(value, dict):
        keys: list[Any] = list(value)
    elif isinstance(value, list):
        # A few entries stand for a long list.
        keys = list(range(min(len(value), 4)))
    else:
        return
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _value(draw: Random, old: object) -> Any:
    """Of the same kind as the old value in three of four cases."""
    if draw.random() < 0.25:
        return draw.choice(
            (draw.choice(_WHOLE), draw.choice(_REAL), draw.choice(_WORDS), [], {}, [1, "a"], True)
        )
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return draw.choice((*_WHOLE, old + 1, old - 1, old * 10, -old))
    if isinstance(old, float):
        return draw.choice((*_REAL, old * 1e6, old * 1e-6, -old))
    if isinstance(old, str):
        return draw.choice((*_QUANTITY, *_RATES, *_WORDS, old.upper(), old[:-1], f"{old} "))
    return draw.choice(([], {}, draw.choice(_WORDS), 0, [old], {"x": old}))


def _near(draw: Random, old: object) -> Any:
    """A value that the old one might have been: what is refused early breaks nothing late."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return draw.choice((max(old - 1, 0), old + 1, old * 2, old // 2, 1, 2, old * 10))
    if isinstance(old, float):
        return old * draw.choice((0.0, 1e-3, 0.5, 0.9, 1.1, 2.0, 100.0))
    if isinstance(old, str):
        number, space, unit = old.partition(" ")
        if space and number.replace(".", "").isdigit():
            return f"{float(number) * draw.choice((0.0, 1e-6, 0.01, 0.5, 3.0, 1e3)):.9g} {unit}"
        return draw.choice((*_WORDS[:24], old))
    return old


def _change(holder: Any, key: Any, draw: Random, _: Any) -> None:
    holder[key] = _value(draw, holder[key])


def _leave_out(holder: Any, key: Any, _draw: Random, _: Any) -> None:
    del holder[key]


def _rename(holder: Any, key: Any, draw: Random, _: Any) -> None:
    if isinstance(holder, dict):
        at = draw.randrange(len(key) + 1)
        holder[f"{key[:at]}{draw.choice('ax_.0')}{key[at:]}"] = holder.pop(key)


def _double(holder: Any, key: Any, draw: Random, _: Any) -> None:
    if isinstance(holder, list):
        holder.insert(draw.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
    else:
        holder[f"{key}_2"] = copy.deepcopy(holder[key])


def _move(holder: Any, key: Any, draw: Random, root: Any) -> None:
    """A value in the place of another, anywhere in the file."""
    other, other_key = draw.choice(list(_places(root)))
    other[other_key] = copy.deepcopy(holder[key])


_DAMAGES: Final[tuple[Callable[[Any, Any, Random, Any], None], ...]] = (
    *(_change, _change, _change, _change, _leave_out, _leave_out, _rename, _double, _move),
)


def damaged_csv(text: str, draw: Random) -> str:
    """A table with cells, rows and columns changed, left out, doubled or shuffled."""
    rows = [line.split(",") for line in text.splitlines()]
    for _ in range(draw.choice((1, 1, 2, 3))):
        if not rows:
            break
        row = draw.choice(rows)
        column = draw.randrange(len(row)) if row else 0
        match draw.randrange(10):
            case 0 | 1 if row:
                row[column] = draw.choice(_CELLS)
            case 7 | 8 | 9 if row:
                row[column] = draw.choice(("0.001", "1", "3", "7.5", "100", "1e6", "1e-9"))
            case 2:
                rows.remove(row)
            case 3:
                rows.extend([list(row)] * draw.choice((1, 1, 50)))
            case 4 if row:
                del row[column]
            case 5:
                row.insert(column, draw.choice(_CELLS))
            case _:
                draw.shuffle(rows)
    return "\n".join(",".join(row) for row in rows) + "\n"


def damaged_bytes(content: bytes, draw: Random) -> bytes:
    """Bytes cut out, put in, or the file's end torn off."""
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(content) + 1)
        if draw.random() < 0.1:
            content = content[:at]
            continue
        inserted = draw.choice((b"", draw.randbytes(2), draw.choice(_BYTES)))
        content = content[:at] + inserted + content[at + draw.randrange(4) :]
    return content


def toml_bytes(table: dict[str, Any]) -> bytes:
    """As TOML; what TOML has not (null) is left out."""
    return tomli_w.dumps(_without_nulls(table)).encode("utf-8", "surrogatepass")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value if v is not None]
    return value


def json_bytes(table: dict[str, Any]) -> bytes:
    """As JSON, with Python's NaN and Infinity."""
    return json.dumps(table).encode("utf-8", "surrogatepass")
