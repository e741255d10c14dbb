"""Whether the process is up and able to answer."""
