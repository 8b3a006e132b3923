"""Durable store-and-forward: the only queue to the outside."""
