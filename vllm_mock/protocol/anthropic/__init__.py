"""Anthropic's Messages API: its requests, their translation into chat requests, its answers, events and errors."""
