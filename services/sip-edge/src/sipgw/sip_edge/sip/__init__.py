"""SIP at this edge: sockets and transactions, dialogs, and the responses that it makes."""
