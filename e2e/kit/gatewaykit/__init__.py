"""What the system tests stand on: a gateway of real processes, foreign clients and bots, a plain phone."""
