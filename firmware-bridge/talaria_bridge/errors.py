"""Everything that can go wrong, as one tree.

TalariaError                 the root: catch this to catch all of ours
├── SourceError              a sensor source could not be opened, or ended (bad spec, port gone, file gone)
├── RecordingError           a file could not be read as what it claims to be (names file, line and fix)
├── FrameFormatError         a frame could not be *encoded* (bad request; bad bytes are counted, never raised)
├── CalibrationError         the wearer's calibration is missing, unusable, or was never reached
├── ModelContractError       a model does not match its runtime (slots, rate, features, version)
├── ConfigError              a TOML or an option is wrong (names the key)
└── ExportError              a model may not be released (torch and onnxruntime disagree)

Every message is one sentence of the form: what happened, why, what to do.
"""


class TalariaError(Exception):
    """Root of all errors Talaria raises on purpose."""


class SourceError(TalariaError):
    """A sensor source could not be opened or has ended unexpectedly."""


class RecordingError(TalariaError, ValueError):
    """A file or folder cannot be read as the recording it claims to be."""


class FrameFormatError(TalariaError, ValueError):
    """A message cannot be put into a frame because a field is out of its range."""


class CalibrationError(TalariaError):
    """A calibration is missing, unusable, or could not be computed."""


class ModelContractError(TalariaError):
    """A model does not fit the runtime or the session it was given to."""


class ConfigError(TalariaError, ValueError):
    """A configuration file or option is wrong."""


class ExportError(TalariaError):
    """A model failed a check that guards its release."""
