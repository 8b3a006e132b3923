"""Updates that are killed, refused by their disk, or met by another release's files, at every step of the machine."""
