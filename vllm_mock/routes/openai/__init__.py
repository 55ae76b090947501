"""OpenAI's routes: one blueprint, a module per resource."""
