"""The contract with the microcontroller: bytes to samples and back."""
