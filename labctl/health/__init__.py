"""Judge facts: rules as data, findings, and what becomes of them."""
