"""The commands of edges on this relay's calls, and the registration with the registry."""
