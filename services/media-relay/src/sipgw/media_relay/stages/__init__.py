"""The stages of the media pipeline, which hear, answer or keep calls' audio."""
