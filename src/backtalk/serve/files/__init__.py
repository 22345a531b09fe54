"""Files: training data and results of fine-tuning jobs, by OpenAI's Files API."""
