"""HTTP over a running App. `asgi(app)` makes the ASGI application that a server serves."""
