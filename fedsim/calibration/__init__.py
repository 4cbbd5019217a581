"""Measure a device, fit a time model to it, and keep both as a profile.

Nothing is re-exported: ``profile`` is read by scenarios without torch, the rest needs it.
"""
