"""Sources that nobody vouches for: what they may cost, and how they are kept out when they cost more."""
