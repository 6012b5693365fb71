"""The on-body runtime: samples to gait. Never imports torch."""
