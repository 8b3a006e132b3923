"""Payload formats under hostile input: what must hold for any message, the messages to start from, and the fuzzer."""
