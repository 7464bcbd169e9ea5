"""Checks of names and options, with answers that help."""

from __future__ import annotations

from collections.abc import Iterable

from ostinato.errors import ConfigError

MAX_NAME = 200


def check_name(kind: str, name: object) -> str:
    """A task, queue or tag name: 1 to 200 printable characters, no white space, no ``*?[]``.

    Raises ConfigError.
    """
    if not isinstance(name, str):
        raise ConfigError(f"The {kind} name {name!r} is a {type(name).__name__}; give text.")
    if not 1 <= len(name) <= MAX_NAME:
        raise ConfigError(f"The {kind} name {name[:40]!r} has {len(name)} characters; give 1 to {MAX_NAME}.")
    if not name.isprintable() or any(mark in name for mark in " *?[]"):
        raise ConfigError(
            f"The {kind} name {name!r} holds white space, a control character or one of * ? [ ]. "
            'Use letters, digits and . _ - : / such as "mail.send".'
        )
    return name


def suggest(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` or the list of what is known."""
    import difflib  # only when somebody mistyped: every attempt's process pays for what is imported here

    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else f"Known are: {', '.join(names)}."
