"""What frameworks need done around tasks."""
