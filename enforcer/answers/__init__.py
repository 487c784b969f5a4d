"""What a person asks of a policy, answered in full: the oracle's verdicts with positions, alternatives and words.

    answer(policy, src, dst, traffic)   one question: the verdict, who decides, what would turn it
    reply(answer)                       the answering direction of that conversation, now and after a change
    reach(policy, host, regions)        what may reach one host
    regions(policy, …)                  the conversations that the rules tell apart: the columns of a matrix
    differences(old, new, traffics)     what a change opens and closes; `differences_among` asks about some cells only

Each comes as data; `document` has it as JSON, `words` as sentences. Nothing here decides about a packet, that is for
`enforcer.semantics`: also what would have to change is found by asking it again about a changed copy of the policy.
"""

from enforcer.answers.answer import Answer, Position, Reply, answer, reply
from enforcer.answers.difference import Difference, Question, differences, differences_among, hosts
from enforcer.answers.document import answer_document, reply_document, rule_document, side_document
from enforcer.answers.reach import Reach, Way, reach
from enforcer.answers.regions import Region, region_of, regions
from enforcer.answers.words import paragraphs, reply_paragraphs, rule_words

__all__ = [
    "Answer",
    "Difference",
    "Position",
    "Question",
    "Reach",
    "Region",
    "Reply",
    "Way",
    "answer",
    "answer_document",
    "differences",
    "differences_among",
    "hosts",
    "paragraphs",
    "reach",
    "region_of",
    "regions",
    "reply",
    "reply_document",
    "reply_paragraphs",
    "rule_document",
    "rule_words",
    "side_document",
]
