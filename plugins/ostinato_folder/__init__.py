"""Ostinato's log store that is a folder."""
