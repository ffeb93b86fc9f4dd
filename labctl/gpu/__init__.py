"""Which card can be had, who has the others: the rule over the facts, and what is shown of it."""
