"""Set-up of a call, from its INVITE to the final response."""
