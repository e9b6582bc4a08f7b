"""Cost trees: what an agent, a step, a tool or a whole trace cost."""
