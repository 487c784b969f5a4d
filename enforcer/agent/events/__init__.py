"""What happens while the loop waits: revisions that are proposed, interfaces and namespaces that come and go, and what
others do to our tables. Everything reaches the loop through one mailbox.

mailbox    the kinds of events, and the box
gathering  how long the loop waits for more of a burst
listener   the thread that hears the kernel
audit      the thread that compares the kernel's listing with its own earlier one
"""
