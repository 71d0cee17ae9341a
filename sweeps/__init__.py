"""The study: which trials are run, where, and where their results land. It holds no science."""
