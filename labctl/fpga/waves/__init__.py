"""Recorded waves: read them, draw their end, and prepare a viewer for them."""
