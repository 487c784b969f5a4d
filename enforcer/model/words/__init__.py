"""The words of the policy language: how one value is written, what it becomes, and how its error reads.

`wording` says errors; `scalars`, `protocols` and `addresses` are the values. None of them knows an object of a policy.
"""
