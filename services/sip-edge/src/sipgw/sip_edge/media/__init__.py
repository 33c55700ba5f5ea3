"""The relays: where a call's media is, the commands that go there, and the descriptions (SDP) for it."""
