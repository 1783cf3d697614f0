"""What is hard in recovering transformer parameters, as programs that can be run."""
