"""Which entries stay where there is no room for all of them."""
