"""Measured claims: each module prints its figures beside a peer or a limit of the same run, and writes them as JSON."""
