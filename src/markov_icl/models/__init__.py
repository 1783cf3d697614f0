"""Models and predictors of the query's next state."""
