"""Errors of pages: what happened and what to do, on a page of the same look."""
