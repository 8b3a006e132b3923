"""Health: probes of the device, latency sketches, periodic reports, and the systemd watchdog."""
