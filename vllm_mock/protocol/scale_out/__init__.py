"""The scale-out API: rendering, generating and derendering as three requests, which three servers may serve."""
