"""HOW events arrive: what others send becomes `Event`, or is refused in words. Imports schemas only."""
