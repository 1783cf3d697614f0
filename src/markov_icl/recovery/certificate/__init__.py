"""What a reader of a certificate has to trust: the proof's object, its file, and the check."""
