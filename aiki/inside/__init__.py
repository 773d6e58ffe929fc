"""What a body and a task see while they run."""
