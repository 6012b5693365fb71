"""A person against a reference group: the comparison, its sentences and its page."""
