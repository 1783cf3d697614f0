# %% [markdown]
# # Your own data: wet and dry days in Seattle
#
# Days of one calendar month of one year are taken to follow one transition kernel; months differ. So the months
# are draws from a prior over kernels, and "will the fourth day be wet?" is in-context learning: other stretches
# of the same month are the examples.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

import markov_icl as mi

table = pl.read_csv((Path(__file__).parent if "__file__" in globals() else Path()) / "seattle_weather.csv")
print(table.head(3))

# %% [markdown]
# ## The task behind the table
#
# Months are cut into chains of four days. A quarter of the months is kept apart for testing. The prior over
# kernels is a Dirichlet for each row, fitted to the transition counts of the other months.

# %%
data = mi.from_sequences(table, group="month", time="date", state="wet", length=4)
alpha = np.array(data.task.prior.alpha, dtype=float)
print(f"{len(data.training_groups)} months to fit, {len(data.held_out_groups)} to test, n = {data.task.context}")
print("prior of the rows (after a dry day, after a wet day):", alpha.round(2).tolist())
stay_wet, turn_wet = alpha[1, 1] / alpha[1].sum(), alpha[0, 1] / alpha[0].sum()
assert stay_wet > turn_wet  # a wet day makes the next one wetter

transitions = table.sort("month", "date").with_columns(next=pl.col("wet").shift(-1).over("month")).drop_nulls()
by_month = transitions.group_by("month", "wet").agg(pl.col("next").mean())
grid = np.linspace(0.001, 0.999, 400)
figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
for row, (axis, name) in enumerate(zip(axes, ["after a dry day", "after a wet day"], strict=True)):
    share = by_month.filter(pl.col("wet") == row)["next"].to_numpy()
    a, b = alpha[row, 1], alpha[row, 0]
    density = grid ** (a - 1) * (1 - grid) ** (b - 1)
    axis.hist(share, bins=12, range=(0, 1), density=True, color="0.8", label="months")
    axis.plot(grid, density / (density.sum() * (grid[1] - grid[0])), label="fitted prior of the kernel's entry")
    axis.set(xlabel=f"chance of a wet day {name}")
axes[0].legend()

# %% [markdown]
# The histogram is wider than the prior, as it must be: a month's share of wet days is its kernel's entry plus
# the noise of some fifteen days.
#
# ## The optimum, exact, and a certificate for the fitted prior

# %%
form = mi.minimizer(data.task)
proof = mi.certify(data.task)
print(f"f~* = {form.loss:.6f}, best one layer between {proof.lower:.6f} and {proof.upper:.6f}")
assert proof.status == "certified"
assert form.loss < proof.lower

# %% [markdown]
# ## Held-out months
#
# Every predictor answers the same prompts of months that no fit has seen. Prompts of a month share chains, so a
# month is one observation, and error bars are wide: twelve months are few.

# %%
from markov_icl.analysis.evaluation import evaluate_held_out
from markov_icl.models.predictors import Constant

fit = mi.best(data.task, starts=16, seed=0)
names = ["bayes", "counts", "logistic", "optimum", "best", "constant"]
predictors = mi.standard_predictors(data.task, form, fit, constant=Constant(data.training_mean), chosen=names)
scores = evaluate_held_out(data, predictors)
for row in scores.rows:
    print(f"{row.predictor:22} {row.loss:.3f} ± {row.loss_se:.3f}")
expected = {"X*": form.loss, "best (b, A)": fit.loss}
for name, value in expected.items():
    assert abs(scores.row(name).loss - value) < 4 * scores.row(name).loss_se

figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
places = np.arange(len(scores.rows))
axis.errorbar([r.loss for r in scores.rows], places, xerr=[r.loss_se for r in scores.rows], fmt="o", capsize=3)
for place, row in zip(places, scores.rows, strict=True):
    if row.predictor in expected:
        axis.plot(expected[row.predictor], place, "k|", ms=16)
axis.set_yticks(places, [r.predictor for r in scores.rows])
axis.invert_yaxis()
axis.set(xlabel="squared error on held-out months (bars: expected under the fitted prior)")

plt.show()
