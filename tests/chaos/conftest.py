from stores import place, site  # noqa: F401
