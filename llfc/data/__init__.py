"""Data sets as uint8 tensors on the device, and batches of them."""
