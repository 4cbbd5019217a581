"""Which of a scenario's results is better, by how much, how surely and why."""
