"""Games to learn from: Breakout for deepq, with the replay memory of its transitions; a pendulum for ppo."""
