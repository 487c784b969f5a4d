"""What would turn a verdict, found by trying: small changes, made to a copy of the policy, and the oracle asked again.

sides      which NIC is asked what
changes    what can be changed, and the policy with it
routes     what would make a way
remedies   which changes together turn the verdict
"""

from enforcer.answers.turning.changes import AddPeering, AddRule, BindEip, Change, RemoveRule, changed
from enforcer.answers.turning.remedies import Remedy, Step, remedies
from enforcer.answers.turning.sides import Asked, asked

__all__ = [
    "AddPeering",
    "AddRule",
    "Asked",
    "BindEip",
    "Change",
    "Remedy",
    "RemoveRule",
    "Step",
    "asked",
    "changed",
    "remedies",
]
