"""The demonstration: a made-up user, whose taste is unlike the general opinion, from history to aligned persona."""

from .made_up import made_up_user, write_lamp_files
from .run import Answer, Answers, answer_all

__all__ = ["Answer", "Answers", "answer_all", "made_up_user", "write_lamp_files"]
