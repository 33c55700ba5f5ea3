"""The call's record: what it may become, and how it is kept in Redis."""
