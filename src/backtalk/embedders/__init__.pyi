from .hashed_tfidf import HashedTfidf as HashedTfidf
from .io import embedder_from_files as embedder_from_files
from .io import embedder_to_files as embedder_to_files
from .registry import get_embedder as get_embedder
from .registry import register_embedder as register_embedder
from .sentence import SentenceEmbedder as SentenceEmbedder
