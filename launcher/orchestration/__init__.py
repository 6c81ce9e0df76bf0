"""The controller and its node agents: Ray, never torch."""
