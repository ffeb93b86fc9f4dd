"""How to tell people: terminal text, tables, progress and JSON."""
