"""RUN: processes that run flows, and the worker that starts, watches and ends them.

store.runs.claim -> launch (what to start, in which environment) -> attempt (the process behind its gate)
                 -> worker (timeout, cancel, stop, retries) -> store.runs.finish
"""
