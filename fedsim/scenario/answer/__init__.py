"""From federations to an answer: which interpreter, how often, and what the table says of it."""
