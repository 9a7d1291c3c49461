"""The demonstration: a made-up user, whose taste is unlike the general opinion, from history to aligned persona."""

from .made_up import made_up_user, write_lamp_files
from .run import Answers, Comparison, answer_all, compare

__all__ = ["Answers", "Comparison", "answer_all", "compare", "made_up_user", "write_lamp_files"]
