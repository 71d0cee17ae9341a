"""Data sets as tensors on the device (images, tokens or rows), and batches of them."""
