"""WHEN something fires: pure state machines, the matching index, and the judge that leads arrivals and moments
through.

Nothing here knows what time it is, where state is kept, or what an action is. A machine is given what arrived and
what moments have come; it changes the state it was handed and says so in a ledger. The same machines judge live
events, backtests and tests."""
