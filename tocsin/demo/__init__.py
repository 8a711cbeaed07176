"""`python -m tocsin.demo`: a short story with a real server, told while it happens and checked at every step."""
