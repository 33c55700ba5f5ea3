"""What `impairments.py` is made of: speech, networks that harm it, the relay's receiving side, scores."""
