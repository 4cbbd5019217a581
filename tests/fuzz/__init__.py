"""Damaged files by the thousand: each ends in an answer or in a message, and in possible numbers.

``make fuzz`` runs them, or ``PYTHONPATH=tests python -m fuzz --cases 10000 --seed 7``; a seed and a
number (``--only``) repeat one.
"""
