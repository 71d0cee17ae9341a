"""What sweeps have left: runs as typed frames, and what their columns mean."""
