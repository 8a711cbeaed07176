"""tocsin: an event-driven automations engine. Events in, judgement, actions out - and silence judged as carefully."""

__version__ = "0.1.0"

__all__ = ["__version__"]
