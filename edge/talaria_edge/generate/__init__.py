"""A generative model of gait on the device: fill what is missing, ask what if, make walkers. No torch."""
