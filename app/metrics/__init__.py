"""What Prometheus scrapes: of this process, and of the database that all share."""
