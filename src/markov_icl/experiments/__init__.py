"""What is computed for the report: claims, maps, scores."""
