"""The interpreter that really executes a protocol: real models, real tensors, real channels."""
