"""Climbing the overlap."""
