"""``python -m ostinato`` is the command ``ostinato``."""

from __future__ import annotations

from ostinato.cli.main import main

if __name__ == "__main__":
    main()
