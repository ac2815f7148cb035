"""Signals and who listens to them."""
