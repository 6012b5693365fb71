"""Tables as other programs write them: OpenSim's motion files and separated values."""
