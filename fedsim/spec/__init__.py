"""With which numbers: validated values, no behavior."""
