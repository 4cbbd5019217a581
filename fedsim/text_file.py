"""Text that users give: read as UTF-8, with a byte order mark or without, or refused with its line.

Every file that a user may have written, edited or damaged is read through here, so that a stray
byte ends in a message with file and line everywhere.
"""

from __future__ import annotations

from pathlib import Path

from fedsim.errors import FedsimError, ScenarioError

__all__ = ["decoded", "read_text"]

_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_text(
    path: Path,
    name: str | None = None,
    *,
    error: type[FedsimError] = ScenarioError,
    cure: str = "",
    missing: str = "",
) -> str:
    """A file's text; line ends stay as they are, a byte order mark does not.

    Parameters
    ----------
    path : Path
    name : str, optional
        What messages call the file; its path by default.
    error : type
        What is raised.
    cure : str
        A sentence for the end of a message: what to do beside mending the file.
    missing : str
        The whole message where there is no such file.

    Raises
    ------
    FedsimError
        Of the given type: with the file, and with the line where a byte is no UTF-8.
    """
    name = str(path) if name is None else name
    try:
        content = path.read_bytes()
    except FileNotFoundError as found:
        raise error(missing or f"{name}: there is no such file.{_after(cure)}") from found
    except (OSError, ValueError) as found:
        reason = getattr(found, "strerror", None) or str(found)
        raise error(f"{name}: cannot be read ({reason}).{_after(cure)}") from found
    return decoded(content, name, error=error, cure=cure)


def decoded(
    content: bytes, name: str, *, error: type[FedsimError] = ScenarioError, cure: str = ""
) -> str:
    """The text of a file's bytes; see :func:`read_text`."""
    if content.startswith(_WIDE_MARKS):
        raise error(f"{name}: not UTF-8 text but UTF-16; save the file as UTF-8.{_after(cure)}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as found:
        # Behind a mark, positions are counted without it; the object is what was decoded.
        before = found.object[: found.start]
        line = before.count(b"\n") + 1
        column = found.start - (before.rfind(b"\n") + 1) + 1
        raise error(
            f"{name}, line {line}: not UTF-8 text (byte 0x{found.object[found.start]:02x} at byte "
            f"{column} of the line); save the file as UTF-8.{_after(cure)}"
        ) from found


def _after(cure: str) -> str:
    return f" {cure}" if cure else ""
