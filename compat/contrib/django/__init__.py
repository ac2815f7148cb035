"""Tasks for Django projects."""
