"""A value becomes what a person or a script sees."""
