"""Re-INVITEs of ours: a call changes its relay, or its caller gets the Contact of another edge."""
