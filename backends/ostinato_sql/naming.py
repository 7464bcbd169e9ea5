"""What the tables are called: ``ostinato_jobs``, or ``prefix_jobs``, in a schema of their own or not.

Statements are written for the names of `ostinato_sql.tables` and renamed as text. Values never
are part of a text, so that nothing else can be hit.
"""

from __future__ import annotations

import hashlib
import re

from msgspec import Struct

from ostinato.errors import ConfigError

DEFAULT_PREFIX = "ostinato_"
_TABLE = re.compile(r"\bostinato_(?=[a-z])")
_VALID = re.compile(r"[a-z_][a-z0-9_]{0,39}\Z")


class Naming(Struct, frozen=True):
    schema: str = ""
    prefix: str = DEFAULT_PREFIX

    def apply(self, text: str) -> str:
        """The text of a statement that reads or writes."""
        name = f'"{self.schema}".{self.prefix}' if self.schema else self.prefix
        return text if name == DEFAULT_PREFIX else _TABLE.sub(name, text)

    def apply_bare(self, text: str) -> str:
        """Without the schema: as names are given where tables and indexes are made."""
        return text if self.prefix == DEFAULT_PREFIX else _TABLE.sub(self.prefix, text)

    def key(self, purpose: str) -> int:
        """63 bits that no other set of tables has."""
        words = f"{purpose}\0{self.schema}\0{self.prefix}".encode()
        return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big") >> 1


def naming(schema: str = "", prefix: str = DEFAULT_PREFIX) -> Naming:
    """Checked, as they come from a URL. Raises ConfigError."""
    for option, given in (("schema", schema or "ok"), ("prefix", prefix)):
        if not _VALID.match(given):
            raise ConfigError(
                f"The option {option}={given!r} of the store's URL cannot begin the name of a table. Give 1 to 40 "
                "lower case letters, digits and _, a letter first: "
                + ("schema=jobs" if option == "schema" else "prefix=app_")
            )
    return Naming(schema, prefix)
