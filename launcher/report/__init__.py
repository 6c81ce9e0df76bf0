"""From the journal to what a person or a machine reads: status, live view, summary."""
