"""Orders that are paid in the background."""
