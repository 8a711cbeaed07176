"""CONNECT: the bus, the recorder, the evaluator, the dispatcher and the definitions in force."""
