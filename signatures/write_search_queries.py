import dspy


class WriteSearchQueries(dspy.Signature):
    """Write the searches that would find, in this user's own past interactions, what is most useful for the query.

    Name the subject, the mood and the qualities that matter to this user. Do not answer the query.
    """

    query: str = dspy.InputField(desc="what the user asks about")
    search_queries: list[str] = dspy.OutputField(desc="one or two searches of a few words each")
