"""The streams to bots: a Trunk for many calls, or a StreamCall for one."""
