"""What a user would pick instead of the meta-trained surrogate, behind its own interface."""
