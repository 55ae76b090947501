"""vLLM's own routes: one blueprint, a module per topic."""
