"""Graphs that tests are about: small ones made here, random ones, published ones, exported ones."""
