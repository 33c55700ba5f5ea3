"""One stream to a bot: a trunk for many calls, or a StreamCall for one."""
