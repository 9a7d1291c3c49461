"""What we ask a language model: one call, one signature, one file. A signature's docstring is the prompt."""

from .analyse_personality import AnalysePersonality
from .answer_as_user import AnswerAsUser
from .answer_query import AnswerQuery
from .choose_action import ChooseAction
from .criticise_response import CriticiseResponse
from .revise_persona import RevisePersona
from .summarise_events import SummariseEvents
from .summarise_profile import SummariseProfile
from .summarise_user import SummariseUser
from .take_react_step import TakeReactStep
from .write_search_query import WriteSearchQuery

__all__ = [
    "AnalysePersonality",
    "AnswerAsUser",
    "AnswerQuery",
    "ChooseAction",
    "CriticiseResponse",
    "RevisePersona",
    "SummariseEvents",
    "SummariseProfile",
    "SummariseUser",
    "TakeReactStep",
    "WriteSearchQuery",
]
