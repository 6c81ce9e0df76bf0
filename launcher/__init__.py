"""A distributed launcher for fine-tuning: recipes of stages and mixes, as one run that survives and can prove it."""

__version__ = "0.1.0"
