from .write import write_gguf as write_gguf
