"""The rules, as files; see docs/check.md for their form."""
