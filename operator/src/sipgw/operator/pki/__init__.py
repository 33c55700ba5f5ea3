"""The gateway's own certificates: a CA and a leaf for each role, rotated well before they expire."""
