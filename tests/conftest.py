"""What holds for all tests."""

from hypothesis import settings

# No deadline: a slow machine must not fail a property. The blob reproduces what a property found.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
