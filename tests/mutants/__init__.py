"""Would the tests notice? The compiler, the rulesets and the oracle, each time with one small mistake in them.

operators  every small mistake that can be made in a module
covering   which tests run which lines, and how long each test takes
trial      one mutant in a process of its own: do the tests that run its line fail?

`python -m mutants --sample 400 --seed 1` (or `scripts/mutants`) tries a random sample, `--all` every mutant. What was
tried is kept in `.cache/mutants.jsonl`, so that a run goes on where it was stopped; the mutants of a module that has
changed since are tried again.
"""
