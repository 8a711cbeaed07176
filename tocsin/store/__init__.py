"""KEEP: tables, migrations, the one writer, the event log. The only room that knows SQL."""
