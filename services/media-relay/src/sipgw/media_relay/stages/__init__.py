"""The stages of the media pipeline: what may hear, answer or keep a call's audio."""
