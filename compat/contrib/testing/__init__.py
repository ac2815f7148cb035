"""Apps and workers for tests."""
