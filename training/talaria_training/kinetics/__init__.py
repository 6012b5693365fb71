"""Forces and joint moments: measured, computed from what was measured, and learned."""
