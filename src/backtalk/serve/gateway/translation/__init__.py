"""Translation between other APIs and chat completions."""
