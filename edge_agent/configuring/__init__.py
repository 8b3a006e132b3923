"""Configuration that travels: a signed layer over the device's own file, checked, applied, watched, and returned by itself."""
