"""Drift as makers and operators see it: baselines are made here, and what devices count is put together."""
