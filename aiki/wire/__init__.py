"""What crosses NATS: messages, subjects, codec and limits. No I/O."""
