"""Learning and judging the generative model that `talaria_edge.generate` samples from."""
