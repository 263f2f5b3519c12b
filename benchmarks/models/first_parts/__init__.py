"""The first zoo by families: each module has ``fill(zoo)``."""
