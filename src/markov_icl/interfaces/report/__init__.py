"""The report: every claim and figure on one page."""
