"""The bus: a Redis stream in front of the log, which takes bursts and outlives an outage of the database.

A publisher (in processes that take events) writes entries, an intake (in processes that record) reads them in their
order and appends them to the log. FastStream's brokers carry both ways; what it does not recover is recovered here.
"""
