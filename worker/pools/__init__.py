"""Pools by name: where tasks run."""
