"""The parts of `impairments.py`: speech, networks that harm it, the relay's receiving side, scores."""
