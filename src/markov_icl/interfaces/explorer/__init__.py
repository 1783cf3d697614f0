"""The interactive page: views of the task, its optimum, its certificate and its layers."""
