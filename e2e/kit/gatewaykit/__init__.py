"""The kit of the system tests: a gateway of real processes, foreign clients and bots, a plain phone."""
