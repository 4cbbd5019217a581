"""What steps cost: FLOPs, bytes, memory, work and seconds, out of one table of the model."""
