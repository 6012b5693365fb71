"""Why a classifier decided so, and where somebody differs from a group: numbers, sentences and pages."""
