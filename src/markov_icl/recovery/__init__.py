"""From the enlarged space back to transformer parameters."""
