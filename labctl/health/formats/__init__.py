"""Reports of checks in the forms that other systems read."""
