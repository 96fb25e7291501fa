"""The engine of Proponent: corpus, model, gradients, curvature, ranking, evaluation, catalogue."""
