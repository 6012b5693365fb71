"""Other people's sensors made of software: what tests, demonstrations and the fault lab talk to."""
