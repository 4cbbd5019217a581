"""The article's case study, trained for real: its sweeps and a verdict on its claims."""
