"""NVML without a card: a shared library that plays a scenario."""
