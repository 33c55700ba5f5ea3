"""SIP at this edge: sockets, transactions, dialogs and responses."""
