"""The keys of one namespace. All begin with the same hash tag, so that on a cluster all are in one slot."""

from __future__ import annotations

import re

from ostinato.errors import ConfigError

DEFAULT = "ostinato"
_ALLOWED = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def own_key(namespace: str) -> str:
    """The namespace's own key, of which the scripts make all others. Raises ConfigError."""
    if not _ALLOWED.fullmatch(namespace):
        raise ConfigError(
            f"namespace={namespace!r} cannot be part of a key: use up to 64 letters, digits and any of _ . : - "
            "such as namespace=shop"
        )
    return f"{{{namespace}}}"


def never_key(own: str) -> str:
    """A key that never exists, and that every script names beside the own one. While a cluster moves the slot to
    another node key by key, either node sees some of our keys only, and a script would believe that the rest do not
    exist. But a request that names several keys, and does not find all of them, is refused by both nodes meanwhile.
    """
    return f"{own}:never"
