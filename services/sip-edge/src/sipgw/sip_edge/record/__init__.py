"""The call's record: its legal changes, and how it is kept in Redis."""
