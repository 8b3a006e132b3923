"""The tests; a package so that `python -m tests.faults.soak` finds it."""
