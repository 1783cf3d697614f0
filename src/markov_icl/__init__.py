"""markov-icl."""
