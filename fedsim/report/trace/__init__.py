"""A simulated run moment by moment: files, and charts of one round."""
