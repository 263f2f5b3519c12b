"""Recording what a device does, and bringing its times back to nodes."""
