"""Weight sharing: one network that holds every candidate operation of every edge, searched by gradient or sampled."""
