"""Parsing and printing; no decisions. Imports what a command needs inside that command."""
