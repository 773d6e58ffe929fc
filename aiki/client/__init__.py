"""An application's door to Aiki: enqueue runs, hold them, read them."""
