"""The in-memory backend: jobs live and die with the process."""
