"""What a lab is: schema, loader, selection and import of inventories."""
