"""Corpora that the user has on disk, read in the formats that they are published in.

A corpus is named ``READER:PATH``, which :func:`corpus_source` makes a data source of; :data:`READERS` is the table of
readers, and the modules beside it implement one each. Nothing is downloaded, and nothing is written.
"""

from .naming import READERS, Reader, corpus_source, readers

__all__ = ["READERS", "Reader", "corpus_source", "readers"]
