"""What was right for earlier results: taking it in, measuring accuracy with it, and sending it to the devices."""
