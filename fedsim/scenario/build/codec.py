"""Codecs by name, and a user's own by ``module:NAME``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Final, cast

from fedsim.codec import CODECS
from fedsim.errors import ScenarioError, nearest
from fedsim.scenario.build.own_module import own_attribute, reason
from fedsim.spec.codec import ENCODABLE, Codec, CodecFacts, Codecs, Encoding
from fedsim.spec.message import Content, Direction

__all__ = ["codecs_of", "find_codec", "read_codecs"]

_FUNCTIONS: Final = ("on_wire", "encoding_work", "decoding_work", "encode", "decode")


def find_codec(name: str, folder: Path) -> Codec:
    """The codec of a name.

    Parameters
    ----------
    name : str
        ``identity``, ``float32``, ``float16``, ``bfloat16`` or ``module:NAME``: a
        :class:`fedsim.spec.codec.Codec`, or a class of them that needs no arguments.
    folder : Path
        The scenario's: a module beside it is found.

    Raises
    ------
    ScenarioError
        If there is none; the message names no table.
    """
    if name in CODECS:
        return CODECS[name]
    if ":" not in name:
        raise ScenarioError(f"allowed: {', '.join(CODECS)}, or module:NAME.{nearest(name, CODECS)}")
    found = own_attribute(name, folder, "module:NAME, such as my_codec:ROUNDED")
    # A user's class may raise anything, and so may its facts and its hash.
    try:
        codec = found() if isinstance(found, type) else found
        missing = [f for f in _FUNCTIONS if not callable(getattr(codec, f, None))]
        inherited = [
            f
            for f in ("on_wire", "encode", "decode")
            if getattr(type(codec), f, None) is getattr(Codec, f)
        ]
        facts = getattr(codec, "facts", None)
        hash(codec)
    except Exception as error:
        raise ScenarioError(
            f"codec '{name}' cannot be made ({reason(error)}); give a frozen dataclass, or one of "
            "its values."
        ) from error
    if missing or inherited:
        raise ScenarioError(
            f"codec '{name}' has no {', '.join([*missing, *inherited])}; derive it from "
            "fedsim.spec.codec.Codec and write on_wire, encode and decode."
        )
    if not isinstance(facts, CodecFacts):
        raise ScenarioError(
            f"codec '{name}' has facts of {type(facts).__name__}; a fedsim.spec.codec.CodecFacts "
            "is needed."
        )
    return cast("Codec", codec)


def codecs_of(named: Mapping[str, Mapping[str, str]], folder: Path) -> Codecs:
    """The codecs of names by content and way.

    Raises
    ------
    ScenarioError
        If one is unknown; the message names the key.
    """
    encodings = []
    for content, ways in named.items():
        for way, name in ways.items():
            try:
                codec = find_codec(name, folder)
            except ScenarioError as error:
                raise ScenarioError(f"{content} = {name[:200]!r}: {error}") from error
            encodings.append(Encoding(Content(content), Direction(way), name, codec))
    return Codecs(tuple(encodings))


def read_codecs(texts: Iterable[str], folder: Path) -> Codecs:
    """The codecs of a command line.

    Parameters
    ----------
    texts : iterable of str
        ``NAME`` for all that may be encoded, ``CONTENT=NAME``, or ``CONTENT.up=NAME``; a later one
        counts.
    folder : Path
        Where a module of one's own is looked for.

    Raises
    ------
    ScenarioError
        If one is unknown; the message names the text.
    """
    named: dict[str, dict[str, str]] = {}
    for text in texts:
        place, equals, name = text.rpartition("=")
        content, dot, way = place.partition(".")
        contents = [c.value for c in ENCODABLE if content == c or not equals]
        ways = [d.value for d in Direction if way == d or not dot]
        if not contents or not ways:
            known = [c.value for c in ENCODABLE]
            raise ScenarioError(
                f"{text[:200]!r}: write NAME, CONTENT=NAME or CONTENT.up=NAME, with a CONTENT of "
                f"{', '.join(known)}.{nearest(content, known)}"
            )
        for one, other in product(contents, ways):
            named.setdefault(one, {})[other] = name
    return codecs_of(named, folder)
