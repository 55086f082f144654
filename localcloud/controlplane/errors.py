"""What can be wrong with a control plane, each in a sentence for people.

ControlPlaneError
  MissingError: none was found, built or fetched
  StartError: it did not start
"""


class ControlPlaneError(Exception):
    """Base of both."""


class MissingError(ControlPlaneError):
    """Nothing to run; the message names what is missing and the command that helps."""


class StartError(ControlPlaneError):
    """It did not become ready; the message ends with the last lines of its log and where the rest is."""
