"""One family of architectures per module."""
