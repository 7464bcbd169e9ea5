"""The conformance kit as a plugin of pytest: ``pytest --ostinato-conformance URL``."""
