"""What comes in from outside: requests, media events, calls of dead edges, messages of live ones."""
