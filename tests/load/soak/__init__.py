"""A soak: followers and workers for half an hour. Each process is killed once; at the end the database is compared."""
