"""Pages and pictures that are made from the code: `python -m docs.generate` writes them, a test holds them to it."""
