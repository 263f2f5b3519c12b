"""Workloads that have a definition, this package's and those of plug-ins: their model, optimizer and update."""

from .subject import built_subject

__all__ = ["built_subject"]
