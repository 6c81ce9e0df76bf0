"""Run directory, Store, mailbox, journal: the only room that knows paths and atomic writes."""
