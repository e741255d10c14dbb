"""Architecture searches as jobs that wait, in steps that another worker may go on from."""
