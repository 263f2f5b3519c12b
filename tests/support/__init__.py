"""What several test modules use: small models, hand-made runs, stand-ins for devices and stages, paths."""
