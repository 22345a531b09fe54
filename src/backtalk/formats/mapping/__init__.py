"""Mappings: files that describe the columns of a table, to import any table.

>>> mapping = RowMapping.from_yaml('''
... prompt: question
... responses: [answer]
... feedback:
...   - {kind: rating, column: stars, scale: 1-5, annotator: rater}
... ''')
>>> row = {"question": "2 + 2?", "answer": "4", "stars": "5", "rater": "ada"}
>>> (case,) = mapping.parse(row)
>>> case.feedback[0].value, case.feedback[0].annotator.id
(5.0, 'ada')
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
