"""WHAT things are: frozen models of events, definitions and firings. No I/O, no clock."""
