"""Segments without feedback: one shared resource after the other, sorted instead of simulated."""
