"""Fine-tuning jobs: OpenAI's API, answered by the methods and the trainer on this machine."""
