"""The further zoo by families: each module has ``fill(zoo)``."""
