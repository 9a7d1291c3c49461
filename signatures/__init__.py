"""What we ask a language model: one call, one signature, one file. A signature's docstring is the prompt."""

from .answer_query import AnswerQuery
from .choose_action import ChooseAction
from .criticise_response import CriticiseResponse
from .revise_persona import RevisePersona
from .summarise_user import SummariseUser
from .write_search_query import WriteSearchQuery

__all__ = [
    "AnswerQuery",
    "ChooseAction",
    "CriticiseResponse",
    "RevisePersona",
    "SummariseUser",
    "WriteSearchQuery",
]
