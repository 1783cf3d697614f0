# %% [markdown]
# # Is my trained model at the optimum?
#
# One layer of linear self-attention is trained twenty times. Its true loss needs no test set: the layer is a
# point of the enlarged space, and the loss there is a quadratic. So we can say where each training ended, and
# how far from the best possible.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import markov_icl as mi
from markov_icl.models.bridge import to_point

task = mi.MarkovTask(length=3, context=10)
form, fit, proof = mi.minimizer(task), mi.best(task, starts=64, seed=0), mi.certify(task)
levels = [minimum.loss for minimum in fit.minima]
print(f"local minima {levels}, certified between {proof.lower:.8f} and {proof.upper:.8f}")
assert proof.status == "certified"
assert len(levels) == 2

# %% [markdown]
# ## Without noise: gradient steps on the exact loss
#
# L-BFGS on the population loss from one random start at a time. Every run converges to one of the two minima.

# %%
ends = np.array([mi.train_population(task, starts=1, seed=seed).loss for seed in range(16)])
counts = [int((np.abs(ends - level) < 1e-8).sum()) for level in levels]
print(f"{counts[0]} of 16 runs end in the global minimum, {counts[1]} in the other one")
assert sum(counts) == 16
assert min(counts) > 0

# %% [markdown]
# ## With noise: Adam on fresh prompts
#
# The loss of the layer after every 25 steps, over all prompts. It cannot go below the certificate.

# %%
curves = []
for seed in range(4):
    layer = mi.LinearSelfAttention(task.dimension, form="sparse", scale=0.3, seed=seed, dtype=torch.float64)
    curve = [form.moments.loss(to_point(layer))]
    for stage in range(12):
        mi.train(
            layer, task, steps=25, batch=1000, rate=0.03 if stage < 6 else 0.01, seed=100 * seed + stage, held_out=2
        )
        curve.append(form.moments.loss(to_point(layer)))
    curves.append(curve)
curves = np.array(curves)
nearest = np.abs(curves[:, -1:] - np.array(levels)).argmin(1)
for seed, (last, which) in enumerate(zip(curves[:, -1], nearest, strict=True)):
    print(f"seed {seed}: {last:.6f}, {last - levels[which]:+.1e} above minimum {which + 1}")
assert (curves > proof.lower).all()
assert (curves[:, -1] < 0.27).all()

figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
for curve in curves:
    axis.plot(25 * np.arange(len(curve)), curve, color="tab:blue", alpha=0.6, lw=1)
for level, style in zip(levels, ("-", "--"), strict=True):
    axis.axhline(level, color="k", ls=style, label=f"local minimum {level:.6f}")
axis.axhspan(0.25, proof.lower, color="0.85", label="proved to be out of reach")
axis.set(
    ylim=(0.252, 0.275), xlabel="step of Adam", ylabel="loss over all prompts", title="Four trainings, exact losses"
)
axis.legend()

# %% [markdown]
# ## How close in parameters?
#
# `(c b, A / c)` is the same model for every `c`, so we compare points of the enlarged space, not parameters.

# %%
exact = mi.train_population(task, seed=0)
X = sum(mi.phi(b, A) for b, A in zip(exact.b, exact.A, strict=True))
distance = np.linalg.norm(X - fit.minima[0].X) / np.linalg.norm(fit.minima[0].X)
print(f"relative distance of the best of 32 starts to the global minimum: {distance:.1e}")
assert distance < 1e-3
gap = exact.loss - proof.lower
print(f"no parameters of one layer with one head gain more than {gap:.1e}")
assert 0 <= gap < 2e-6

figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.bar(np.arange(12) - 0.15, fit.minima[0].X, 0.3, label="global minimum")
axis.bar(np.arange(12) + 0.15, fit.minima[1].X, 0.3, label="the other one")
axis.plot(np.arange(12), form.X, "k_", ms=14, label="X*")
axis.set_xticks(range(12), form.labels, rotation=60, fontsize=7)
axis.legend(fontsize=8)

plt.show()
