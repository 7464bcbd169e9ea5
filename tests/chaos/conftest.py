from stores import place  # noqa: F401
