"""Servers are killed under load, and everything that was acknowledged is accounted for (see README.md)."""
