"""The serial loaders of Espressif's chips, by esptool as a library over the line that is leased."""
