"""Pure thought: recipe, plan, mixing, packing, schedule, failure policy. No torch, ray, clock or disk."""
