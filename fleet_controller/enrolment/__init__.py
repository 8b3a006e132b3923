"""Makes and takes back what a device signs in with: its broker password and its HTTP token."""
