"""Modes without common rounds: the event loop with the server's policy inside."""
