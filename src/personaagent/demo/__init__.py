"""The demonstration: a made-up user, whose taste is unlike the general opinion, from history to aligned persona."""

from .run import Answer, Answers, answer_all, made_up_user, write_lamp_files

__all__ = ["Answer", "Answers", "answer_all", "made_up_user", "write_lamp_files"]
