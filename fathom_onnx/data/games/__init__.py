"""Breakout for deepq, emulated or simulated, and the replay memory that transitions are drawn from."""
