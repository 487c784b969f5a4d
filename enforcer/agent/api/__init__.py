"""The API: HTTP over a UNIX socket, for everybody whom the socket lets in; the command line is one client of it.

    socket ──peers──▶ who asks ──limits──▶ bounded request ──app──▶ router ──▶ head, store, confirming, seeing

app         the application: routers put together, errors as documents
context     what the routers work with, and what all changes have in common
documents   requests and answers, as the OpenAPI document shows them
policy      the whole policy, its revisions, and the way back
edits       single edits
short       the short way of those whose words are in order
peers       who is at the other end of the socket
limits      sizes, numbers and times, so that a slow or broken client harms nobody
server      the socket, and the thread that serves it
"""

from enforcer.agent.api.app import create_app
from enforcer.agent.api.context import Context
from enforcer.agent.api.server import Access, Server

__all__ = ["Access", "Context", "Server", "create_app"]
