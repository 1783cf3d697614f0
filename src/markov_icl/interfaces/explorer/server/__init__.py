"""Requests of a page to answers, within bounds."""
