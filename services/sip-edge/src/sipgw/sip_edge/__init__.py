"""The SIP edge: transports, transactions, dialogs, SDP, routing; the writer of `CallSession`.

It never touches RTP.
"""
