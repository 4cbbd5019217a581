"""A scenario's file: its tables, where they are read, and what is wrong with them."""
