"""The relay's calls: their table, the commands on them, and their reports."""
