"""A link that flows share max-min fairly: kernels and where their figures stand."""
