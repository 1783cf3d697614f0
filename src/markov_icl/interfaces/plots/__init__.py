"""Results to axes; nothing here computes science."""
