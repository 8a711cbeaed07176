"""What tocsin can do a second, measured beside a reference loop in the same run; no test asserts a time."""
