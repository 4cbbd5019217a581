"""Results as notebooks show them: some sentences, then a table. Escapes every text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

__all__ = ["as_html"]

#: More rows than this are not a table that anyone reads.
_MAX_SHOWN: Final = 60


def as_html(
    title: str,
    sentences: Iterable[str],
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    more: str = "to_pandas() has all",
    below: Iterable[str] = (),
) -> str:
    """A fragment of HTML.

    Parameters
    ----------
    title : str
        Written strong.
    sentences : iterable of str
        A paragraph each.
    header : sequence of str
    rows : sequence of sequence of str
        Cells in the order of the header; the first names the row.
    more : str
        Where the rows are that are too many to be shown.
    below : iterable of str
        Under the table, a paragraph each: what figures rest on.
    """
    lines = [f"<p><strong>{escape(title)}</strong></p>"]
    lines += [f"<p>{escape(sentence)}</p>" for sentence in sentences]
    lines.append("<table>")
    lines.append(f"<thead><tr>{_cells('th', header)}</tr></thead>")
    lines.append("<tbody>")
    for first, *rest in rows[:_MAX_SHOWN]:
        name = f'<th style="text-align: left">{escape(first)}</th>'
        lines.append(f"<tr>{name}{_cells('td', rest)}</tr>")
    lines.append("</tbody></table>")
    if len(rows) > _MAX_SHOWN:
        hidden = f"... and {len(rows) - _MAX_SHOWN:,} more rows; {more}."
        lines.append(f"<p>{escape(hidden)}</p>")
    lines += [f"<p>{escape(sentence)}</p>" for sentence in below]
    return "\n".join(lines) + "\n"


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
