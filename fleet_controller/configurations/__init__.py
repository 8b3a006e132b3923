"""Configurations: named, revisioned, checked as a device checks them, signed online, and assigned in waves like releases."""
