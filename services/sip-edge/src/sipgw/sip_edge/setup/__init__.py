"""From the INVITE to its final response."""
