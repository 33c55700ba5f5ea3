"""One call: its local state at this edge, its route, its deadlines and its end."""
