"""Parts of one axis: which of them a graph treats alike, and what it picks out."""
