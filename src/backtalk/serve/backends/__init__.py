"""What answers requests: upstreams, policies, experiments."""
