"""Verbs about models and tasks: scores, ladders, maps. No run is stored here."""
