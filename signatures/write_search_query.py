import dspy


class WriteSearchQuery(dspy.Signature):
    """Write the search that would find, in this user's own past interactions, what is most useful for the query.

    Name the subject, the mood and the qualities that matter to this user. Do not answer the query.
    """

    query: str = dspy.InputField(desc="what the user asks about")
    search: str = dspy.OutputField(desc="three to six words to search for")
