"""One call: what runs for it here, its route, its clocks and its end."""
