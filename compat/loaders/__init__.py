"""Where configuration and task modules come from."""
