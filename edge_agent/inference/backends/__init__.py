"""The model runtimes behind one port; they run in the worker process, on Python 3.10 and newer."""
