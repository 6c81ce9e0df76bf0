"""From what a recipe names to rows: files, globs, folders, URLs, saved datasets and hub ids, in all their formats."""
