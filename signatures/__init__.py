"""What we ask a language model: one call, one signature, one file. A signature's docstring is the prompt."""

from .analyse_personality import AnalysePersonality
from .answer_as_user import AnswerAsUser
from .answer_for_user import AnswerForUser
from .answer_query import AnswerQuery
from .choose_action import ChooseAction
from .criticise_response import CriticiseResponse
from .explain_mistake import ExplainMistake
from .propose_rules import ProposeRules, Rule
from .revise_persona import RevisePersona
from .summarise_events import SummariseEvents
from .summarise_profile import SummariseProfile
from .summarise_user import SummariseUser
from .take_react_step import TakeReactStep
from .write_search_query import WriteSearchQuery

__all__ = [
    "AnalysePersonality",
    "AnswerAsUser",
    "AnswerForUser",
    "AnswerQuery",
    "ChooseAction",
    "CriticiseResponse",
    "ExplainMistake",
    "ProposeRules",
    "RevisePersona",
    "Rule",
    "SummariseEvents",
    "SummariseProfile",
    "SummariseUser",
    "TakeReactStep",
    "WriteSearchQuery",
]
