"""One family of architectures a module."""
