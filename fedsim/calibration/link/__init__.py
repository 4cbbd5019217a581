"""Measure the link between two hosts, fit the transfer model to it, and keep both as a profile.

Nothing is re-exported and nothing needs torch: ``profile`` is read by scenarios, the rest by
``fedsim calibrate link``.
"""
