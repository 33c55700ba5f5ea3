"""Protection of the edge: digest authentication, budgets for strangers, bans, call rates."""
