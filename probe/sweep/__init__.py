"""The sweep: softmax regression along a path of L2 penalties, all folds at once, each fit certified.

The problem. With n rows x_i of D numbers in K classes, one-hot labels y_i, kernel W (D, K), intercept b (K,),
probabilities p_i = softmax(W'x_i + b) and λ = 1 / (C n), it is scikit-learn's divided by C n:

    objective    F(W, b) = -1/n Σ_i log p_i[y_i] + λ/2 ‖W‖²
    gradient     ∂F/∂W = 1/n X'(P - Y) + λ W         ∂F/∂b = 1/n 1'(P - Y)
    Hessian      H[V] = 1/n X'(P ∘ (U - (P ∘ U) 1 1')) + λ V     with U = X V, P and Y (n, K)

For K = 2 the two columns are -w/2 and +w/2 of the logistic objective (`probe.objective`, which has the certificate
too).

The order of calls. `search.search` asks for points C, and what they score on the folds. `path.SoftmaxPath.fit`
solves one point for all folds: it extrapolates a start from the points before. `newton.minimise` takes Newton steps
from there: each direction solves H d = -grad by conjugate gradients, down to `tol`, with
`preconditioner.Preconditioner` applied to the residual; its length is found by a line search on the logits.
`problem.Problem` (or `few_rows.FewRowsProblem`, in the span of the rows) gives objective, gradient and products
with the Hessian, from `rows.Rows` in blocks, `curvature` leaving out rows that do not move the Hessian, `products`
multiplying thin matrices.

What decides where the optimum is, is computed in float64; what only leads there, in float32.
"""

from probe.sweep.path import PathFit, SoftmaxPath

__all__ = ["PathFit", "SoftmaxPath"]
