"""The systems that PersonaAgent is compared with, each called as it is: `program(query=...)`.

Their predictions have a `response` (str) and their `spend`. A program raises `AnswerError` if the LM did not answer in
the task's form, and `LMError` if it failed; a constructor raises `InputError` if a number is too small, or a history
has nothing that it needs.
"""
