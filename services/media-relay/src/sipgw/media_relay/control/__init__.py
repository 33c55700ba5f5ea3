"""The relay's two conversations: with the edges, which command it, and with the registry."""
