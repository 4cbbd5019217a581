"""A protocol for readers: its steps as a table, and as a diagram."""
