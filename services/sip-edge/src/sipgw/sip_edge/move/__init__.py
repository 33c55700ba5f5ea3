"""Our re-INVITEs: move a call to another relay, or give its caller the Contact of another edge."""
