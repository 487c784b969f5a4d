"""Does the kernel judge every packet as the oracle does? Random policies, random packets, real wires.

stage      the wires that all policies share, and where a packet to an address comes out
scenes     random policies on this stage, and random changes of them
shots      what is sent: flows, their turns (open, answer, onward, error), and the frames
aim        random flows that go for the edges of a policy
rig        a lab that stands: put a scene in force, send frames, see what arrives where
expect     what the oracle says of each turn of a flow
campaign   policy after policy: new flows, replies, flows judged again after a change
workers    a campaign for each processor, and the sum of what they sent
cases      a mismatch as a file: replayed, shrunk, kept in `tests/regressions/`

python -m fuzz --minutes 5 --seed 1      (or `make fuzz MINUTES=5 SEED=1`)
"""
