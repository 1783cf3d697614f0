# %% [markdown]
# # Layers as descent
#
# Restricted layers (Eq. 11) change the label row only. Theorem 4.1: they run a preconditioned gradient step on
# several objectives. Here we look at it happen, entry by entry, in a model that was trained and in one that was
# not.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import markov_icl as mi
from markov_icl.depth.descent import descend, equivalence
from markov_icl.depth.objectives import decompose, first_group, second_group

task = mi.MarkovTask(length=5, context=100)
layers = mi.LinearSelfAttention(task.dimension, depth=5, form="restricted", scale=0.1, seed=0)
result = mi.train(layers, task, steps=300, batch=256, seed=0, held_out=2000)
prompts = mi.sample_prompts(task, 2000, seed=1)

# %% [markdown]
# ## The label row is a residual
#
# After layer `l` the label row of column `i` holds `y_i - w.x_i` for one vector `w`, which the recursion
# computes from the Gram matrix alone. We compare every entry of every layer.

# %%
found = equivalence(layers, prompts)
print(f"largest difference in {found.prompts} prompts and {found.layers} layers: {found.max_abs:.1e}")
assert found.relative < 1e-10

trajectory = descend(layers, prompts.gram)
with torch.no_grad():
    Z = layers.double().layers(torch.from_numpy(prompts.matrix[:1]))
    layers.float()
label_rows = np.stack([state[0, -1].numpy() for state in Z])
residuals = trajectory.residuals(prompts.context)[:, 0]
assert np.abs(label_rows[:, :-1] - residuals).max() < 1e-6  # the model is in single precision, the recursion in double

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
top = np.abs(label_rows).max()
for axis, values, name in zip(axes, (label_rows[:, :-1], residuals), ("label row of Z", "y - w.x"), strict=True):
    image = axis.imshow(values[:, :40], aspect="auto", cmap="RdBu_r", vmin=-top, vmax=top)
    axis.set(title=name, xlabel="context column")
axes[0].set_ylabel("after layer")
figure.colorbar(image, ax=axes)

# %% [markdown]
# ## What a step is made of
#
# `decompose` splits a step into the contributions of the `2 D` objectives. They add up to the step, exactly.
# The share of an objective is its part along the step.

# %%
shares = []
for layer in range(1, layers.depth + 1):
    parts = decompose(trajectory.step(layer))
    assert np.allclose(parts.parts.sum((1, 2)), trajectory.step(layer).move, atol=1e-12)
    shares.append(parts.shares.ravel())
shares = np.array(shares)
assert np.allclose(shares.sum(1), 1)

figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
D = task.dimension
names = [f"R1_{k + 1}" for k in range(D)] + [f"R2_{k + 1}" for k in range(D)]
top = np.abs(shares).max()
image = axis.imshow(shares, aspect="auto", cmap="RdBu_r", vmin=-top, vmax=top)
axis.set_xticks(range(2 * D), names, rotation=60)
axis.set_yticks(range(layers.depth), [str(k + 1) for k in range(layers.depth)])
axis.set(ylabel="layer", title="Share of each objective in the step (negative: it pulls back)")
figure.colorbar(image, ax=axis)

# %% [markdown]
# ## Do the objectives fall?
#
# A preconditioner is free, so a step may raise any of them. The squared loss is the last of the first group.

# %%
first = np.array([first_group(w, prompts.gram).mean(0) for w in trajectory.w])
second = np.array([second_group(w, prompts.context).mean(0) for w in trajectory.w])
squared = first[:, -1]
assert squared[-1] < squared[0]
print("squared loss on the context, after each layer:", squared.round(4).tolist())

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for axis, values, name in zip(axes, (first, second), ("R1", "R2"), strict=True):
    for k in range(values.shape[1]):
        axis.plot(values[:, k], "o-", ms=3, label=f"{name}_{k + 1}")
    axis.set(xlabel="after layer", title=f"mean of {name}")
    axis.legend(fontsize=7)

# %% [markdown]
# ## What depth buys
#
# The prediction after each layer is `w.x`: linear in the query, whatever the depth. Bayes is not.

# %%
predictions = trajectory.predictions(prompts.query)
losses = ((predictions - prompts.target) ** 2).mean(1)
bayes = ((mi.posterior_predictive(task, prompts)[:, 1] - prompts.target) ** 2).mean()
print("loss after each layer:", losses.round(4).tolist(), "Bayes:", round(bayes, 4))
assert losses[-1] < losses[0]
assert losses.min() > bayes

figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.plot(losses, "o-", label="w.x after each layer")
axis.axhline(bayes, color="k", ls="--", label="Bayes")
axis.set(xlabel="layer", ylabel="squared error of the query")
axis.legend()

plt.show()
