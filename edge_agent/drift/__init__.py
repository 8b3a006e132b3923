"""Drift on the device: what models are given and what they answer is counted beside the baseline of their bundle."""
