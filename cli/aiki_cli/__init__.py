"""The command line `aiki`. It sees of Aiki only what every program sees: the public SDK."""

__version__ = "0.1.0"
