"""A scenario's answer for a terminal."""
