"""The sweep: softmax regression along a path of L2 penalties, all folds at once, each fit certified.

Newton's method from one penalty to the next, from strong to weak: the start is extrapolated from the points before, the
step is found by conjugate gradients with one Gram matrix per class as preconditioner, its length by a line search.
What decides where the optimum is, is computed in float64; what only leads there, in float32.
"""

from probe.sweep.path import PathFit, SoftmaxPath

__all__ = ["PathFit", "SoftmaxPath"]
