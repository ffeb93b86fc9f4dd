"""Read what there is to verify from files, without starting a simulator or importing a test."""
