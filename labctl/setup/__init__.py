"""Make a box right: resources, profiles, plan, apply and journal."""
