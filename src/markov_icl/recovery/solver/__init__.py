"""How certificates are found; nothing here is trusted."""
