"""What a classifier looked at: layer-wise relevance propagation, its summaries, and how faithful it is."""
