"""The SIP edge: transports, transactions, dialogs, offer/answer and routing; the writer of `CallSession`. No
RTP here.
"""
