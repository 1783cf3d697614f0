"""What a prompt is: kernels, tasks, samplers, real data. Nothing here knows a model."""
