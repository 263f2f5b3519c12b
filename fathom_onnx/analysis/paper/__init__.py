"""The paper's numbers and claims, and what our runs say of each."""
