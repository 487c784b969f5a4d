"""The daemon: keeps what was asked for in the kernel, whatever happens, and says what it does.

request ──api──▶ edits ──propose──▶ Store ──watch──▶ decide ──commit──▶ kernel ──settle──▶ Store ──▶ answer
                                                       ▲
                            links, foreign changes ──events

store      resources under keys, revisions, watches; the only place where the API and the enforcing loop meet
resources  a policy file ⇄ resources                                             (pure)
desired    what is wanted as of a revision, and what a change would make of it (pure); touched, indexes: by look-up
lately     a large mapping that changes a little                                 (pure)
edits      single edits (a rule added, a NIC attached …) → changes of resources  (pure)
decide     the next step, from what is wanted, in force and seen                 (pure)
places     the namespaces: each changed, repaired and closed on its own
kernel     the few verbs of the kernel, and whose transaction was whose
loop       carries the steps out; the only thread that changes the kernel
events     interfaces that come and go, and what others do to our tables
daemon     the process; boot: the state that is loaded before the network comes up
plan       what a change would do, before it is done
seeing     status, hits, traces, the deny log, metrics
api        HTTP over a UNIX socket; head, where changes are judged; confirming, what goes back by itself
"""
