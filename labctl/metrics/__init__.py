"""Serve what is so on hosts to Prometheus."""
