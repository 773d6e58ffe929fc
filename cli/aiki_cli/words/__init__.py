"""What a person types becomes a value."""
