"""Backends of the gateway: upstreams, policies and experiments."""
