"""What can be wrong with a Core ML package, or with running one."""

from runtime_py.errors import SdkError


class CorruptPackage(SdkError):
    """A file of the `.mlpackage` is missing, truncated or contradicts another."""

    id = "corrupt-mlpackage"


class UnsupportedProgram(SdkError):
    """A valid Core ML model that is not one ML Program over tensors."""

    id = "mil-program-unsupported"


class UnsupportedOperator(SdkError):
    """The program uses operators, or inputs of operators, that the interpreter does not have."""

    id = "mil-operator-missing"


class WrongInput(SdkError):
    """An array handed to the program is not what the program declares."""

    id = "mil-input-mismatch"


class WrongOutput(SdkError):
    """An operator failed, or made another shape or dtype than the program declares for it."""

    id = "mil-output-mismatch"
