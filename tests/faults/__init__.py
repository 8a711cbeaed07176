"""Many processes, real PostgreSQL and Redis, and everything that goes wrong between them (see README.md)."""
