"""Command line, tables, pictures, report."""
