"""The SQL backend on SQLAlchemy Core: SQLite."""
