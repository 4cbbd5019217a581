"""Answers that need several interpreters: whether they agree, and the article's case study."""
