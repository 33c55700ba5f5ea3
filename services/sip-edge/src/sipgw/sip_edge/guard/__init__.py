"""Who may call: passwords, budgets of strangers, and bans."""
