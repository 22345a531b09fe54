from .vector_index import VectorIndex as VectorIndex
