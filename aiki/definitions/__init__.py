"""What users declare, and what they get for it. No I/O."""
