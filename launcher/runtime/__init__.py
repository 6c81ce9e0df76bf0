"""One worker process: torch, DeepSpeed, transformers; never Ray."""
