"""What `aiki dev` and `aiki worker start` start and watch."""
