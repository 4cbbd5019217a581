"""Segments with feedback: an event loop over clients, links and accelerators."""
