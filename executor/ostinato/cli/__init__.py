"""The command ``ostinato``: one file a verb."""
