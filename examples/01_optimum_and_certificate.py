# %% [markdown]
# # The optimum of a task, and a certificate
#
# Chains of two states from an unknown kernel, ten examples, one query. How well can the next state be
# predicted, how well by one layer of linear self-attention, and how do we know?

# %%
import matplotlib.pyplot as plt
import numpy as np

import markov_icl as mi

# %% [markdown]
# ## The ladder of losses
#
# For each length: the best point of the enlarged space (exact), the best real parameters (proved from both
# sides), and the Bayes loss (sampled, with its standard error).

# %%
lengths = [2, 3, 4, 5]
floor, best, proved, bayes, error = [], [], [], [], []
for length in lengths:
    task = mi.MarkovTask(length=length, context=10)
    form, proof = mi.minimizer(task), mi.certify(task)
    prompts = mi.sample_prompts(task, 40_000, seed=0)
    squared = (mi.posterior_predictive(task, prompts)[:, 1] - prompts.target) ** 2
    floor.append(form.loss)
    best.append(proof.upper)
    proved.append(proof.lower)
    bayes.append(squared.mean())
    error.append(squared.std() / np.sqrt(len(squared)))
    print(f"length {length}: Bayes {bayes[-1]:.4f} ± {error[-1]:.4f}, f~* {floor[-1]:.8f}, f* {proof.upper:.8f}")
    assert proof.status == "certified"
    assert proof.lower <= proof.upper <= proof.lower + 1e-6

# Bayes <= f~* <= f*, and at length 2 real parameters reach f~*.
assert all(b - 5 * e < f < u + 1e-12 for b, e, f, u in zip(bayes, error, floor, best, strict=True))
assert best[0] - floor[0] < 1e-6 < 1e-3 < best[1] - floor[1]

figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
axis.plot(lengths, best, "o-", label="f*, best one layer (certified)")
axis.plot(lengths, floor, "s-", label="f~*, enlarged space (exact)")
axis.errorbar(lengths, bayes, yerr=error, fmt="^-", label="Bayes (sampled)")
axis.set(xlabel="length", ylabel="expected squared error", xticks=lengths, title="Ladder of losses, n = 10")
axis.legend()

# %% [markdown]
# ## The optimum itself
#
# Each block of `X*` is a triangle of coefficients, one for each product of two entries of a column. A block
# that comes from real parameters has rank at most 2. At length 3 the first block has rank 3, and a minor proves
# it.

# %%
task = mi.MarkovTask(length=3, context=10)
form = mi.minimizer(task)
answer = mi.recover(form.X_exact)
print(answer.witness.text)
assert not answer.recoverable
assert answer.exact

rows, columns = np.triu_indices(3)
figure, axes = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
top = np.abs(form.X).max()
for block, axis in enumerate(axes):
    square = np.full((3, 3), np.nan)
    square[rows, columns] = form.X.reshape(2, -1)[block]
    image = axis.imshow(square, cmap="RdBu_r", vmin=-top, vmax=top)
    axis.set_xticks(range(3), ["1", "2", "3"])
    axis.set_yticks(range(3), ["1", "2", "3"])
    axis.set_title(f"block {block + 1} of X*")
figure.colorbar(image, ax=axes)

# %% [markdown]
# ## Two hills, and a proof which is lower
#
# The loss over real parameters has two local minima here. For a fixed direction of `b` the best `A` is a linear
# solve, so the whole landscape is a function on a sphere. We draw it over two angles.

# %%
fit = mi.best(task, starts=64, seed=0)
for minimum in fit.minima:
    print(f"local minimum {minimum.loss:.8f}: {minimum.random_starts} of {fit.random_starts} random starts")
assert len(fit.minima) == 2
assert fit.minima[1].random_starts > fit.minima[0].random_starts  # most starts end in the worse one


def best_loss(b):
    """Return the least loss over A for this b."""
    J = np.stack([mi.phi(b, unit.reshape(3, 2)) for unit in np.eye(6)], axis=1)
    H, h = J.T @ form.moments.H @ J, J.T @ form.moments.h
    return form.moments.y2 - h @ np.linalg.lstsq(H, h)[0]


def direction(up, around):
    """Return the unit vector with this height and angle."""
    flat = np.sqrt(1 - up**2)
    return np.array([flat * np.cos(around), flat * np.sin(around), up])


heights, angles = np.linspace(-0.99, 0.99, 61), np.linspace(0, np.pi, 91)  # b and -b are the same
losses = np.array([[best_loss(direction(up, around)) for around in angles] for up in heights])
assert losses.min() >= fit.loss - 1e-12

figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
drawn = axis.contourf(angles, heights, losses, levels=np.linspace(0.254, 0.3, 47), cmap="viridis", extend="max")
for minimum, mark in zip(fit.minima, "*o", strict=True):
    b = minimum.b[0] / np.linalg.norm(minimum.b[0])
    b = b if np.arctan2(b[1], b[0]) >= 0 else -b
    axis.plot(np.arctan2(b[1], b[0]), b[2], mark, color="white", ms=11, mec="black", label=f"{minimum.loss:.6f}")
axis.set(xlabel="angle of (b1, b2)", ylabel="b3 / |b|", title="Least loss over A for each direction of b")
axis.legend(title="local minima")
figure.colorbar(drawn, ax=axis, label="loss")

# %% [markdown]
# The certificate says that nothing lies below the star, for parameters of any size. Anybody can check it
# without the solver that found it.

# %%
proof = mi.certify(task)
checked = mi.verify(proof)
print(f"{checked.proof}: {checked.lower:.10f} <= f* <= {checked.upper:.10f}")
assert checked.proof == "rational"
assert checked.lower <= losses.min() + 1e-12
assert abs(checked.upper - fit.minima[0].loss) < 1e-9

plt.show()
