"""Terminal reports and pictures: results in, text and figures out.

Import what is needed from its own file: a report must not cost the import of matplotlib.
"""
