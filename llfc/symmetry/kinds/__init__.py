"""Which linear maps the units of each group can be mixed by: `spec.kinds`."""
