"""What is so on a machine, never judged: each fact is a value or the reason for none."""
