"""What the explorer's pages draw."""
