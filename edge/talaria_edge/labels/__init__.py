"""Reference angles from elsewhere, brought onto a session's clock: labels to fine-tune on."""
